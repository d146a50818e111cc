"""Reports for people and archives: pictures, HTML pages, DICOM objects, methods text."""
