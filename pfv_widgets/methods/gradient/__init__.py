"""Methods that run a signal back from a score to the pixels."""
