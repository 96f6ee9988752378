"""Simulate evaluators who rate over HTTP as browsers do, and are always marked as simulated."""
