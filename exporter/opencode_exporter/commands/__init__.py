"""Commands: what a person types, one module each; flags, output and exit codes."""
