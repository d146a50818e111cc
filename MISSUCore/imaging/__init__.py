"""From scans to tensors and back."""
