"""From paths, arrays and tensors to an :class:`ImageBatch`."""
