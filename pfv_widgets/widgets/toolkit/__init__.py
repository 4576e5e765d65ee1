"""Controls, background work and history, which know no explorer."""
