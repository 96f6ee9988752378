"""Features and texts in, numbers out."""
