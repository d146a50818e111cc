"""What a script can call: no Qt."""
