"""Hold the guidance methods, one module each; `docs/methods.md` says how to add one.

Plain Python: torch is imported inside the functions that combine predictions.
"""
