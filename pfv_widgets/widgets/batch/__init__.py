"""The tab *Batch*."""
