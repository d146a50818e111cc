"""What is measured on a segmentation: lesions by the rules of RANO, and the report."""
