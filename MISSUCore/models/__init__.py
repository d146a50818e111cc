"""Model files: bundled, the user's own, and their versions."""
