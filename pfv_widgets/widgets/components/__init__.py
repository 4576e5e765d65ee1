"""The tab *Components*."""
