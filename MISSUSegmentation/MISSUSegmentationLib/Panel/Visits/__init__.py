"""The Visits section of the panel."""
