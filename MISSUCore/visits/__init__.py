"""Follow-up over several visits of a patient: registration, lesion tracking, response."""
