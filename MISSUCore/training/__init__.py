"""From labeled cases to weights."""
