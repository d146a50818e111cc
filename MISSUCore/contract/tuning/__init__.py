"""A fine-tuning as its folder tells of it: the run, its curves, and its verdict."""
