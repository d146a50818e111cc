"""The user interface; needs Qt."""
