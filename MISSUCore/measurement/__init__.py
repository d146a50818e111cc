"""What a reader measures on a segmentation: lesions, diameters, volumes."""
