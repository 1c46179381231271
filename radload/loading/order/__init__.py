"""The order of samples: bijections, samplers and row lists, as arithmetic."""
