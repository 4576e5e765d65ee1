"""Finding shortcuts: candidates, what marks them, and the causal test of each."""
