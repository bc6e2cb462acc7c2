"""Models that several parties train together, and their artifacts: each party keeps its own part."""
