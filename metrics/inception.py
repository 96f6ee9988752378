"""Compute Inception-V3 features, and the Inception Score (Salimans et al. 2016), as torch-fidelity does.

The network's blocks are torch-fidelity's port of the official TensorFlow graph. They are put together here, because its
own loader unpickles whatever a file of weights holds. Its batch normalisation is folded into the convolutions, which
changes features by float rounding only.
"""

from __future__ import annotations

import pickle  # nosec B403  # for the name of its error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import nn

from evenhand.errors import InputError, is_machine_fault
from evenhand.metrics.fingerprints import weights_fingerprint
from evenhand.metrics.pictures import Pixels

SIDE = 299
FEATURES, CLASSES = 2048, 1008
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity's release v0.2.0 names them
RESIZES = ("tensorflow", "clean")
SPLIT_SEED = 2020  # torch-fidelity's
STEM = {  # name: input and output channels, and what the convolution's arguments are
    "Conv2d_1a_3x3": (3, 32, {"kernel_size": 3, "stride": 2}),
    "Conv2d_2a_3x3": (32, 32, {"kernel_size": 3}),
    "Conv2d_2b_3x3": (32, 64, {"kernel_size": 3, "padding": 1}),
    "Conv2d_3b_1x1": (64, 80, {"kernel_size": 1}),
    "Conv2d_4a_3x3": (80, 192, {"kernel_size": 3}),
}


class InceptionError(InputError):
    """The network cannot be loaded, or no score be computed; the message says why."""


def default_weights() -> Path:
    """Return where torch-fidelity keeps its weights: torch's own cache."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS


def read_weights(path: Path) -> Mapping[str, torch.Tensor]:
    """Read a state dict; nothing in the file is executed. Raises ``InceptionError`` for anything else."""
    if not path.is_file():
        raise InceptionError(
            f"there are no Inception weights at {path}; name a file, or put {WEIGHTS} of torch-fidelity's release "
            "v0.2.0 there"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InceptionError(f"{path} is refused: it is a pickle that could run code, or no file of weights") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        if is_machine_fault(error):
            raise
        raise InceptionError(f"{path} holds no weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InceptionError(f"{path} holds no state dict of tensors, but a {type(state).__name__}")
    return state


def _blocks() -> nn.Module:
    """Put the network together, with random weights; raises ``InceptionError`` where torch-fidelity is missing."""
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as parts
    except ImportError as error:
        raise InceptionError("FID and the Inception Score need torch-fidelity: install evenhand[metrics]") from error
    network = nn.Module()
    for name, (inputs, outputs, arguments) in STEM.items():
        network.add_module(name, parts.BasicConv2d(inputs, outputs, **arguments))
    mixed = {
        "5b": parts.InceptionA(192, pool_features=32),
        "5c": parts.InceptionA(256, pool_features=64),
        "5d": parts.InceptionA(288, pool_features=64),
        "6a": parts.InceptionB(288),
        "6b": parts.InceptionC(768, channels_7x7=128),
        "6c": parts.InceptionC(768, channels_7x7=160),
        "6d": parts.InceptionC(768, channels_7x7=160),
        "6e": parts.InceptionC(768, channels_7x7=192),
        "7a": parts.InceptionD(768),
        "7b": parts.InceptionE_1(1280),
        "7c": parts.InceptionE_2(2048),
    }
    for name, block in mixed.items():
        network.add_module(f"Mixed_{name}", block)
    network.add_module("fc", nn.Linear(FEATURES, CLASSES))
    return network


def _fold_normalisation(network: nn.Module) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.conv = nn.utils.fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()


def load_inception(weights: Path | None = None, *, resize: str = "tensorflow", device: str = "cpu") -> Inception:
    """Load the network with weights from a file, or from torch's cache.

    resize: ``tensorflow`` as the official implementation, or ``clean`` as clean-fid. Raises ``InceptionError`` for
    another resize, for no or other weights.
    """
    if resize not in RESIZES:
        raise InceptionError(f"there is no resize {resize!r}; choose one of {', '.join(RESIZES)}")
    path = weights or default_weights()
    network, state = _blocks(), read_weights(path)
    expected = network.state_dict()
    missing, unknown = [key for key in expected if key not in state], [key for key in state if key not in expected]
    unlike = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if missing or unknown or unlike:
        first = (missing or unknown or unlike)[0]
        raise InceptionError(
            f"{path} holds weights of another network than Inception-V3 of 2015-12-05: {len(missing)} missing, "
            f"{len(unknown)} unknown, {len(unlike)} of another shape, for example {first}"
        )
    network.load_state_dict(state)
    return Inception(network, weights_fingerprint(state), resize, torch.device(device))


class Inception:
    """Inception-V3 as an ``Embedder``: pooled features (2048) and logits without their bias (1008)."""

    outputs: Mapping[str, int] = {"pool": FEATURES, "logits_unbiased": CLASSES}

    def __init__(self, network: Any, weights: str, resize: str, device: torch.device) -> None:
        self.resize = resize
        self.device = device
        self.name = f"inception-v3-2015-12-05/{weights}/{resize}"
        network.eval().requires_grad_(False)
        _fold_normalisation(network)
        self.network = network.to(device, memory_format=torch.channels_last)

    def prepare(self, pixels: Pixels) -> torch.Tensor:
        """Scale a picture to float32 (3, 299, 299), 0 … 255."""
        if self.resize == "clean":
            return resize_clean(pixels)
        return resize_like_tensorflow(torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float())

    @torch.inference_mode()
    def embed(self, batch: Sequence[torch.Tensor]) -> dict[str, NDArray[np.float32]]:
        """Compute the outputs of prepared pictures, float32 (B, 2048) and (B, 1008)."""
        net = self.network
        x = torch.stack(list(batch)).to(self.device, memory_format=torch.channels_last)
        x.sub_(128).div_(128)  # the stack is a copy
        x = net.Conv2d_2b_3x3(net.Conv2d_2a_3x3(net.Conv2d_1a_3x3(x)))
        x = nn.functional.max_pool2d(x, kernel_size=3, stride=2)
        x = net.Conv2d_4a_3x3(net.Conv2d_3b_1x1(x))
        x = nn.functional.max_pool2d(x, kernel_size=3, stride=2)
        for name, block in net.named_children():
            if name.startswith("Mixed_"):
                x = block(x)
        pooled = x.mean(dim=(2, 3))
        logits = pooled @ net.fc.weight.T
        return {"pool": pooled.float().cpu().numpy(), "logits_unbiased": logits.float().cpu().numpy()}


def resize_like_tensorflow(picture: torch.Tensor, side: int = SIDE) -> torch.Tensor:
    """Scale (3, H, W) bilinearly as TensorFlow 1 does: corners at (0, 0), no antialiasing, float32."""
    rows, row_shares = _neighbours(picture.shape[1], side)
    columns, column_shares = _neighbours(picture.shape[2], side)
    left, right = picture[:, :, columns[0]], picture[:, :, columns[1]]
    wide = left + (right - left) * column_shares
    above, below = wide[:, rows[0]], wide[:, rows[1]]
    scaled: torch.Tensor = above + (below - above) * row_shares[:, None]
    return scaled


def _neighbours(size: int, side: int) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    places = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    low = places.long()
    return (low, (low + 1).clamp_max(size - 1)), places - low.float()


def resize_clean(pixels: Pixels, side: int = SIDE) -> torch.Tensor:
    """Scale to (3, side, side) as clean-fid does: Pillow's antialiased bicubic filter in float, cut to 0 … 255."""
    channels = [Image.fromarray(np.ascontiguousarray(pixels[..., c], dtype=np.float32)) for c in range(3)]
    scaled = [np.asarray(each.resize((side, side), Image.Resampling.BICUBIC)) for each in channels]
    return torch.from_numpy(np.stack(scaled).clip(0, 255))


@dataclass(frozen=True)
class InceptionScore:
    """Mean of the splits' scores, with both conventions of its standard deviation.

    population_sd divides by the number of splits, as torch-fidelity and the original do; sample_sd by one less (NaN for
    one split).
    """

    mean: float
    population_sd: float
    sample_sd: float
    splits: int
    seed: int | None
    count: int


def inception_score(logits: ArrayLike, *, splits: int = 10, seed: int | None = SPLIT_SEED) -> InceptionScore:
    """Compute exp(mean KL(p(y|x) ‖ p(y))) in each split of logits (N, classes), in float64.

    seed: of the order in which pictures are dealt into splits, with numpy's ``RandomState`` as torch-fidelity; None
    keeps their order. Raises ``InceptionError`` for fewer pictures than splits, and for logits that are not finite.
    """
    array = np.asanyarray(logits)
    count = len(array)
    if splits < 1:
        raise InceptionError(f"splits must be at least 1, not {splits}")
    if count < splits:
        raise InceptionError(f"{splits} splits need at least as many pictures, there are {count}")
    order = np.arange(count) if seed is None else np.random.RandomState(seed).permutation(count)
    scores = np.array(
        [_split_score(array[order[i * count // splits : (i + 1) * count // splits]]) for i in range(splits)]
    )
    sample = float(scores.std(ddof=1)) if splits > 1 else float("nan")
    return InceptionScore(float(scores.mean()), float(scores.std()), sample, splits, seed, count)


def _split_score(logits: NDArray[np.floating]) -> float:
    values = logits.astype(np.float64)
    if not np.isfinite(values).all():
        raise InceptionError("logits are not finite")
    logs = values - values.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    chances = np.exp(logs)
    divergences = (chances * (logs - np.log(chances.mean(axis=0)))).sum(axis=1)
    return float(np.exp(divergences.mean()))
