"""Finding shortcuts: marks that may be one, and the causal test of each."""
