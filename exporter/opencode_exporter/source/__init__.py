"""Source: what agents keep on the disk, found, watched and read; never written."""
