"""Training of a fine model for the second look: it learns where a coarse model looks."""
