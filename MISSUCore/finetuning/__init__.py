"""A bundled model learns from a user's corrected cases, and has to prove itself."""
