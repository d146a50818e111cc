"""What every other room stands on: errors, events, files, settings as JSON. Loads no package."""
