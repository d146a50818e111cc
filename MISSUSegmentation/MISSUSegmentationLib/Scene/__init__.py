"""Converts between arrays or files and MRML nodes; no other package does."""
