"""The batch: what is counted together, from one commit to the next."""
