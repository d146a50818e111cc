"""What segments hold, and the record of who changed it, kept with their segmentation."""
