"""Photos and weights as they come from disk, made ready for the engine."""
