"""Code → image: objectives, priors, canvases, solvers, and the one loop that joins them."""
