"""The harness: command line, grid, runner, models, suites, measurement."""
