"""A run: grid, plan, jobs, stages, records, and who carries the jobs out."""
