"""Watch studies while they are prepared and while ratings come in: how far, how fast, and what is wrong."""
