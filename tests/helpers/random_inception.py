"""Inception-V3 with random weights, in a file of the form that torch-fidelity's release has."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as parts

LAYERS = ["2048", "logits_unbiased"]


def write_inception(path: Path, seed: int = 7) -> Path:
    """Kaiming's initialisation, under which features do not vanish, and random running statistics."""
    torch.manual_seed(seed)
    extractor = parts.FeatureExtractorInceptionV3
    with (
        mock.patch.object(parts, "load_state_dict_from_url", return_value={}),
        mock.patch.object(extractor, "load_state_dict", return_value=None),
    ):
        network = extractor("inception-v3-compat", LAYERS)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    state = network.state_dict()
    state["fc.weight"] *= 0.05  # so that no class takes all of the probability
    torch.save(state, path)
    return path


def reference_network(weights: Path) -> nn.Module:
    """torch-fidelity's own network with the weights of the file."""
    return parts.FeatureExtractorInceptionV3(
        "inception-v3-compat", LAYERS, feature_extractor_weights_path=str(weights)
    ).eval()
