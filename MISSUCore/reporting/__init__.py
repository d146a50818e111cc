"""What a human looks at: pictures and the quality page."""
