"""Which scan is T1, T1ce, T2, FLAIR."""
