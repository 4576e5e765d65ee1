"""The only GUI code."""
