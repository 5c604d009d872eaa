"""From clips to features: reading audio, and the judges that embed it."""
