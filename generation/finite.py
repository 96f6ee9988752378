"""Refuse pictures that are not finite, and say in words where they began not to be, and what helps.

Half precision overflows: a value too large becomes infinite, soon everything is not a number, and the picture is black.
Whether latents are finite is kept on their device and read once a batch, so that a GPU is not waited for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from evenhand.errors import InputError

_SHOWN = 60  # characters of a prompt


class NotFiniteError(InputError):
    """A picture whose latents or pixels are not finite; the message names arm, iteration, precision and a way out."""


def are_finite(pictures: torch.Tensor) -> torch.Tensor:
    """Return for each of b pictures whether all its numbers are finite: bool (b,) on their device."""
    return pictures.isfinite().flatten(1).all(dim=1)


def check_trajectories(
    branches: Sequence[Sequence[torch.Tensor]],
    arms: Sequence[Sequence[str]],
    iterations: Sequence[int],
    prompts: Sequence[str],
    dtype: torch.dtype,
) -> None:
    """Raise NotFiniteError for the earliest latents that are not finite.

    branches: for each branch, ``are_finite`` (b,) after each network call. arms: the labels of each branch.
    iterations: of each network call. prompts: of the b pictures.
    """
    finite = torch.stack([torch.stack(list(each)) for each in branches]).cpu()  # (branches, calls, b)
    if finite.all():
        return
    call, branch = (~finite).any(dim=2).T.nonzero()[0].tolist()
    where = f"from iteration {iterations[call]} of 0…{iterations[-1]} on"
    bad = (~finite[branch, call]).nonzero().flatten().tolist()
    raise NotFiniteError(_message(arms[branch], where, [prompts[each] for each in bad], dtype, _way_out(dtype)))


def check_decoded(
    finite: Sequence[bool], arms: Sequence[Sequence[str]], prompts: Sequence[str], dtype: torch.dtype
) -> None:
    """Raise NotFiniteError where a decoded picture is not finite; its latents were. One entry a picture."""
    bad = [index for index, each in enumerate(finite) if not each]
    if bad:
        way_out = _way_out(dtype, ", or a checkpoint whose VAE is made for it") if dtype == torch.float16 else ""
        way_out = way_out or "the weights of its VAE may be damaged"
        where = "once the VAE has decoded it, while its latents are"
        raise NotFiniteError(_message(arms[bad[0]], where, [prompts[each] for each in bad], dtype, way_out))


def _message(arms: Sequence[str], where: str, prompts: Sequence[str], dtype: torch.dtype, way_out: str) -> str:
    arm = arms[0] if len(arms) == 1 else f"{arms[0]} (and {len(arms) - 1} more)"
    prompt = prompts[0] if len(prompts[0]) <= _SHOWN else f"{prompts[0][:_SHOWN]}…"
    more = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
    precision = str(dtype).removeprefix("torch.")
    return f"{arm}: the picture of “{prompt}”{more} is not finite {where}, in {precision}; {way_out}"


def _way_out(dtype: torch.dtype, besides: str = "") -> str:
    if dtype == torch.float16:
        return f"float16 ends at {torch.finfo(dtype).max:.0f}: choose the precision bfloat16 or float32{besides}"
    return "a strength may be too large, or the checkpoint's weights damaged"
