"""Cohorts: segments many cases, each into its own folder, and summarizes all of them."""
