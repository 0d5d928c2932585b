"""Encodings of visual words."""
