"""Fine-tuning of a model on a user's corrected cases, with an acceptance test."""
