"""Comparison, classes, ablation, shortcuts, repair, probes and training; no widget."""
