"""Evaluation of segmentations against references, and verification of result files."""
