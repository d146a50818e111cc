"""Several visits of a patient: one space, lesions followed, the response judged."""
