"""Networks without some of their components, and what changes."""
