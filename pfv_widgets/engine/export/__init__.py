"""Frames as files: figures, web pages, animations."""
