"""Measurements drawn into a picture, for viewers that show neither segments nor reports."""
