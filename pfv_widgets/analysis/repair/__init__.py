"""Repairing a network that relies on a shortcut."""
