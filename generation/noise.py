"""Draw noise that depends on (seed, iteration) alone, in float32 on the CPU, one picture at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

SEED_LIMIT = 2**63


def draw(seeds: Sequence[int], draw_number: int | str, shape: tuple[int, int, int]) -> torch.Tensor:
    """Draw standard normal noise, float32 (B, *shape) on the CPU, row b from (seeds[b], draw_number) alone.

    Draw 0 is the initial noise and equals what diffusers draws with ``torch.Generator().manual_seed(seed)``; draw k is
    the noise that a stochastic scheduler adds in its k-th step, from a seed hashed out of (seed, k). Guidance methods
    draw under a name instead of a number.
    """
    rows = [torch.randn((1, *shape), generator=_generator(seed, draw_number)) for seed in seeds]
    return torch.cat(rows)  # (B, C, h, w)


class HandedNoise(TorchFunctionMode):
    """Within this context ``torch.randn`` returns the noise of ``supply``, in the requested dtype and on that device.

    diffusers' ancestral schedulers draw inside ``step`` in the model's dtype, so a half-precision run would get other
    noise than a float32 one. Not all of them accept noise as an argument, but all draw through ``torch.randn``.
    """

    def __init__(self, supply: Callable[[], torch.Tensor]) -> None:
        super().__init__()
        self._supply = supply

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not torch.randn:
            return func(*args, **kwargs)
        noise = self._supply()
        if tuple(args[0]) != tuple(noise.shape):
            raise RuntimeError(f"the scheduler asked for noise of shape {tuple(args[0])}, not {tuple(noise.shape)}")
        return noise.to(device=kwargs.get("device"), dtype=kwargs.get("dtype"))


def _generator(seed: int, draw_number: int | str) -> torch.Generator:
    if draw_number:
        digest = hashlib.sha256(f"{seed}:{draw_number}".encode()).digest()
        seed = int.from_bytes(digest[:8], "big") % SEED_LIMIT
    return torch.Generator().manual_seed(seed)
