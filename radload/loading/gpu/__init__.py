"""Batches on a GPU: decode, guard, memory, and the launches that render."""
