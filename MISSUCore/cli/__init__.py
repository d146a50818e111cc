"""The commands of ``missu``, a file each: its options, and the call of the library."""
