"""How good a segmentation is, and what it measures."""
