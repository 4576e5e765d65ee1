"""The explorer of reconstructions."""
