"""Which sequence a scan is of, by names and DICOM attributes; loads no image."""
