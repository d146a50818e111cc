"""Segmentation of a case: from scans to label map, report and further files."""
