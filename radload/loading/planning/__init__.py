"""What is known about a batch before a byte of pixels is read: crops, levels, windows, views."""
