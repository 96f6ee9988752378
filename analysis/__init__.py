"""Choices in, statistics out. Only numpy and scipy."""
