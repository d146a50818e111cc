"""Labeled cases: of BraTS, of CHAOS, or of a list; and reading their labels."""
