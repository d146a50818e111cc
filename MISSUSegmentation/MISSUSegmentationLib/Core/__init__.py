"""Runs MISSUCore in a separate process, and checks that it is installed."""
