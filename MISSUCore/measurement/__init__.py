"""Measurements on a segmentation: lesions, diameters, volumes, further maps."""
