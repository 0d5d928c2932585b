"""Comparisons of intensities: LBP and BRIEF."""
