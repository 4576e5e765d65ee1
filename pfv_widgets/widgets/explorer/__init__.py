"""The shell that all explorers share, and the explorer of PFV."""
