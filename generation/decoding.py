"""Decode latents to pictures in calls of a fixed size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evenhand.generation.finite import are_finite
from evenhand.generation.kinds.registry import Pipeline, kind_of

OnBranchPicture = Callable[[int, int, NDArray[np.uint8]], None]  # branch, index in the batch, picture
CheckBranches = Callable[[Sequence[bool], Sequence[Sequence[int]], Sequence[int]], None]


def nothing(_branch: int, _index: int, _picture: NDArray[np.uint8]) -> None:
    """Do nothing with a picture."""


def decode_latents(
    pipeline: Pipeline,
    latents: torch.Tensor,
    rows: int,
    on_picture: Callable[[int, NDArray[np.uint8]], None] | None = None,
    check: Callable[[int, Sequence[bool]], None] | None = None,
) -> NDArray[np.uint8]:
    """Decode latents (n, C, h, w) to pictures, uint8 (n, H, W, 3), in calls of exactly ``rows`` latents.

    check: called before ``on_picture`` with the position of a call's first picture, and whether each is finite.
    on_picture: called with each picture's position and the picture as its call ends, before the next call begins.
    """
    kind, pictures = kind_of(pipeline), list[NDArray[np.uint8]]()
    for start in range(0, len(latents), rows):
        part = latents[start : start + rows]
        padded_part = torch.cat([part, *[part[-1:]] * (rows - len(part))])
        decoded = kind.decode(padded_part)[: len(part)]
        finite = are_finite(decoded)
        scaled = pipeline.image_processor.postprocess(decoded, output_type="pt")
        levels = (scaled.float() * 255).round().to(torch.uint8)  # as postprocess does, but on the device: less to copy
        pictures.append(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
        if check is not None:  # the pictures have been waited for
            check(start, finite.tolist())
        if on_picture is not None:
            for position, picture in enumerate(pictures[-1], start):
                on_picture(position, picture)
    return np.concatenate(pictures)


def decode_branches(
    pipeline: Pipeline,
    latents: Sequence[torch.Tensor],
    rows: int,
    on_picture: OnBranchPicture,
    check: CheckBranches,
) -> list[NDArray[np.uint8]]:
    """Decode the latents (b, C, h, w) of each branch; a tensor that several branches share is decoded once.

    on_picture: called with the branch, the picture's index in the batch and the picture, after ``check``.
    check: called for each VAE call with whether each picture is finite, its branches, and its index in the batch.
    """
    distinct_latents = list({id(each): each for each in latents}.values())
    branches = [[branch for branch, each in enumerate(latents) if each is one] for one in distinct_latents]
    size = len(latents[0])

    def on_decoded_picture(position: int, picture: NDArray[np.uint8]) -> None:
        for branch in branches[position // size]:
            on_picture(branch, position % size, picture)

    def check_call(start: int, finite: Sequence[bool]) -> None:
        positions = range(start, start + len(finite))
        check(finite, [branches[each // size] for each in positions], [each % size for each in positions])

    pictures = decode_latents(pipeline, torch.cat(distinct_latents), rows, on_decoded_picture, check_call)
    parts = dict(zip(map(id, distinct_latents), np.split(pictures, len(distinct_latents)), strict=True))
    return [parts[id(each)] for each in latents]
