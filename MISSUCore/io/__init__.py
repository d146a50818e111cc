"""Reading scans and lists of cases: NIfTI, DICOM, geometry."""
