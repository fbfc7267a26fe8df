"""Skills on disk: where OpenCode looks for them, and how it reads their names."""
