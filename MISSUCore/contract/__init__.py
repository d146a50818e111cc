"""What the library and its callers agree on. Loads neither torch nor SimpleITK."""
