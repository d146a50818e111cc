"""MISSUCore's process, and whether it is installed."""
