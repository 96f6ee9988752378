"""Texts and arrays in, indices out: which prompts a study shows (paper §5.3)."""
