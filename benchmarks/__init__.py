"""Benchmarks beside plain ways of doing the same; run one with ``python -m benchmarks.NAME``."""
