"""Parameters of signatures as options: what the command line and the app ask for."""
