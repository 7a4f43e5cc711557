"""What a run leaves behind: rows, curves, maps, a summary, and the configuration that they belong to."""
