"""Contents of segments, and the record of who changed them, stored with their segmentation."""
