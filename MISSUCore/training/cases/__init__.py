"""Labeled cases from BraTS, CHAOS or a case list, and reading of their labels."""
