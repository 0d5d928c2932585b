"""Image → code: descriptors with their gradients, one family a file."""
