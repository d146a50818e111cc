"""The History section of the panel."""
