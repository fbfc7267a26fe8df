"""HTTP: pages over sockets, with TLS and passwords.  Knows nothing of what is counted."""
