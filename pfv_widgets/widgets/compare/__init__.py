"""Several networks on the same photos: two galleries side by side."""
