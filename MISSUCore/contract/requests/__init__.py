"""What MISSUCore can be asked to do, in Slicer and on the command line."""
