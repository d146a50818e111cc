"""Rigid registration of the scans of one examination."""
