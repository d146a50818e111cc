"""Who changed what in a segmentation, and who vouches for it."""
