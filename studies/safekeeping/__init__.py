"""Back an installation up, and restore it into an empty one."""
