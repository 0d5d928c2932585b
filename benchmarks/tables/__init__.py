"""The tables, one file each; ``benchmarks/__init__.pyi`` lists them."""
