"""Raw BIDS datasets: names, sidecars, and the scans of every session."""
