"""Several visits of a patient: the rules of response, and the report."""
