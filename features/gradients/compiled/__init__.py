"""Passes over the pixels and cells of HOG and SIFT that Numba compiles; it is imported when the first one runs."""
