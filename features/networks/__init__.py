"""Layers of convolutional networks."""
