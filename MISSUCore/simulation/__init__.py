"""Simulated cases: anatomy, lesion, contrast."""
