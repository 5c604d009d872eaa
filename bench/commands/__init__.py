"""One file per subcommand: it reads flags, calls the harness, prints. Heavy imports are inside the functions."""
