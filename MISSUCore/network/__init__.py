"""The MISSU network, its building blocks and its computational cost."""
