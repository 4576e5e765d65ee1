"""Networks side by side: alignment, similarity of layers, curves along a sequence of networks."""
