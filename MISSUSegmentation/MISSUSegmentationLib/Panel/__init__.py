"""What the user sees: needs Qt."""
