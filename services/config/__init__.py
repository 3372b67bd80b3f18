"""The YAML: models of its sections, and a loader whose errors say file, line and column."""
