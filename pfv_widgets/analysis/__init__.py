"""Questions that one asks of a basis; torch only, no widget."""
