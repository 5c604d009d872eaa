"""Networks that no library has, and what the libraries' own need to run."""
