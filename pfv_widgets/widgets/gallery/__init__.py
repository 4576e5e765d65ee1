"""The gallery: tiles, pointer, keys, pins, toolbar."""
