"""One space, no skull, the working grid, and the way back."""
