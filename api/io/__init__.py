"""Files, images and arrays."""
