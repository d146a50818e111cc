"""The commands of ``missu``, one file each: parse the options and call the library."""
