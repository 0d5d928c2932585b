"""Code → image: objectives, priors, parameterizations, solvers, and the one loop that joins them."""
