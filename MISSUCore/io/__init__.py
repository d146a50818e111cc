"""Reading and writing: scans, DICOM, lists of cases, BIDS datasets; geometry and resampling."""
