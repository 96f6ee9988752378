"""Make a study of pictures that were made elsewhere: read, match, preview, take; ``docs/uploads.md``."""
