"""What is learned: the MISSU network and what it costs."""
