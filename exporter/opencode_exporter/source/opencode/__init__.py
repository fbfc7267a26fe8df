"""OpenCode's database, read without a lock and without a trace."""
