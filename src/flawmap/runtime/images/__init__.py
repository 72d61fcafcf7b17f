"""Reads images: from files of every format, arrays, tensors and streams, or says why not."""
