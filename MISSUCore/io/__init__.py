"""Reading and writing of scans, DICOM, case lists and BIDS datasets; geometry and resampling."""
