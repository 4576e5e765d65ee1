"""Following a training, epoch by epoch."""
