"""Preprocessing: registration, brain extraction, bias field, and resampling for the network."""
