"""The tables: protocol, runner and report."""
