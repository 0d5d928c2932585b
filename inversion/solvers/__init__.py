"""First-order solvers and L-BFGS."""
