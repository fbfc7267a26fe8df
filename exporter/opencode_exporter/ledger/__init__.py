"""The ledger: what has been counted, kept on disk; and what decides that it counts."""
