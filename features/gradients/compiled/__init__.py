"""Passes over the pixels and cells of HOG and SIFT, which Numba compiles where NumPy would be slow; imported when the
first one runs.
"""
