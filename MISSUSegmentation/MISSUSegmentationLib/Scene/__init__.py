"""The one place that turns arrays into MRML nodes and back."""
