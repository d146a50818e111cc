"""Commands that tell what is installed: models, and what a network costs."""
