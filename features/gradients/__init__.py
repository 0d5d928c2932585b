"""Histograms of oriented gradients: HOG, dense SIFT and PHOW."""
