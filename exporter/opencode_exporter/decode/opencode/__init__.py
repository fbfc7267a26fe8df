"""OpenCode's rows become events, whichever generation wrote them; pure."""
