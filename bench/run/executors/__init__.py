"""Who carries out the jobs of a run, and where."""
