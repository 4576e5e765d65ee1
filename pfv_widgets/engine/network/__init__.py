"""The user's network: its layers, its feature maps, and how it is given back unchanged."""
