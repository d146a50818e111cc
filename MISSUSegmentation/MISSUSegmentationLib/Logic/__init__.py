"""The functions for scripts; none of them needs Qt."""
