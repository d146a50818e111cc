"""Cohorts: many cases, each into a folder of its own, and what is told of all."""
