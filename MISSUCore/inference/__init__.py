"""From a case to a segmented case."""
