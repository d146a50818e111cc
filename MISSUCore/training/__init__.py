"""Training of the network on labeled cases."""
