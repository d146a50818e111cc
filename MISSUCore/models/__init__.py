"""Storage of models: the bundled ones, the user's own, and their versions."""
