"""Fingerprint models: their weights, and the settings without which the same weights give other numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from evenhand.metrics.pictures import file_sha256

DIGITS, FEW_DIGITS = 16, 8  # of a fingerprint, and in the name of a score
SETTINGS = (".json", ".model", ".txt")  # how the files of configurations and tokenizers end


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


def settings_of_folder(folder: Path) -> str:
    """Return as JSON the SHA-256 of each file in a model's folder that configures the model or its tokenizer."""
    files = [each for each in folder.iterdir() if each.suffix in SETTINGS and not each.name.startswith(".")]
    return json.dumps({each.name: file_sha256(each) for each in sorted(files) if each.is_file()})


def marked(name: str, fingerprint: str) -> str:
    """Return a folder's or a file's name with the first digits of its model's fingerprint: ``clip@0123abcd``."""
    return f"{name}@{fingerprint[:FEW_DIGITS]}"
