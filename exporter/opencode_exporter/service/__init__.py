"""Service: the process that polls, serves and pushes; joins all stages."""
