"""What all methods share: the protocol, targets, read-outs, extra inputs."""
