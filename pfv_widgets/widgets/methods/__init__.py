"""The explorer of methods."""
