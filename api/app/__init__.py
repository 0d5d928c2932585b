"""A local web page to invert codes on: forms from the catalogues, runs in threads, and a server for this machine."""
