"""Describe the kinds of pipelines that make pictures: what Stable Diffusion 1, 2 and XL do differently."""
