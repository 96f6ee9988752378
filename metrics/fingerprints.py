"""Fingerprint models: their weights, and the settings without which the same weights give other numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch

DIGITS = 16  # of a fingerprint


def weights_fingerprint(state: Mapping[str, torch.Tensor], *settings: str) -> str:
    """Return the first 16 hex digits of the SHA-256 over names and values of weights, and over texts of settings."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + np.ascontiguousarray(state[name].cpu().numpy()).tobytes())
    for text in settings:
        digest.update(text.encode())
    return digest.hexdigest()[:DIGITS]


def text_fingerprint(text: str) -> str:
    """Return the first 16 hex digits of the SHA-256 over a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
