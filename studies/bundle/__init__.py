"""Write a study as a bundle of files, verify a bundle, and open a replication from one; ``docs/bundle.md``."""
