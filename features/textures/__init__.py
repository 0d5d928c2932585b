"""Statistics of textures."""
