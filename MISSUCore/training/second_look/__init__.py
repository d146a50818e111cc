"""Training of the fine model of the second look, on the places that a coarse model finds."""
