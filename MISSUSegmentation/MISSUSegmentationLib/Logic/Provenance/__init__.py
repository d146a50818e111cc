"""Who changed and who signed off a segmentation."""
