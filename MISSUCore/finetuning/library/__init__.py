"""The user's corrected cases, kept for fine-tuning."""
