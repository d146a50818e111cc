"""Patches of a case: how they are cut, and how they vary."""
