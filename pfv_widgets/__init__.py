"""See, live in a notebook, what a convolutional network has learned."""
