"""One call for every method, and its result."""
