"""A memory that is too small is acted by a hook on the network: it raises torch's own error beyond some rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import SegmentationFree
from evenhand.generation.memory import MemoryTooSmall, generate_within_memory
from evenhand.generation.trajectory import generate

PROMPTS = ["a red circle", "a dog left of a cat", "the blue star"]
SEEDS = [1, 2, 3]
ARMS = {"a": SegmentationFree(switch_after=1)}


@contextmanager
def memory_for(rows: int, module: torch.nn.Module) -> Iterator[list[int]]:
    """The rows of each call as they come; those beyond ``rows`` run out of memory."""
    tried: list[int] = []

    def check(_: object, args: tuple[torch.Tensor, ...]) -> None:
        tried.append(len(args[0]))
        if len(args[0]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")

    hook = module.register_forward_pre_hook(check)
    try:
        yield tried
    finally:
        hook.remove()


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_the_batch_is_halved_until_it_fits_and_said_so(
    stock: StableDiffusionPipeline, caplog: pytest.LogCaptureFixture, part: str
) -> None:
    """Batches of 8, 4, 2 make network calls of 16, 8, 4 rows and decoder calls of 8, 4, 2."""
    module, fits = (stock.unet, 4) if part == "unet" else (stock.vae.decoder, 2)
    expected = generate(stock, PROMPTS, SEEDS, ARMS, steps=2, batch_size=2)
    with memory_for(fits, module), caplog.at_level(logging.WARNING, "evenhand.generation.memory"):
        result = generate_within_memory(stock, PROMPTS, SEEDS, ARMS, steps=2, batch_size=8)
    assert np.array_equal(result.images["a"], expected.images["a"])
    assert result.evaluations == expected.evaluations
    assert result.provenance == expected.provenance | {"batch_size_asked": 8}
    assert result.provenance["rows"]["vae"] == 2
    said = [record.getMessage() for record in caplog.records if record.name == "evenhand.generation.memory"]
    assert [text.partition(":")[0] for text in said] == [
        "out of memory on cpu with 8 pictures a batch, going on with 4",
        "out of memory on cpu with 4 pictures a batch, going on with 2",
    ]


def test_what_fitted_is_remembered_for_the_picture_size(stock: StableDiffusionPipeline) -> None:
    with memory_for(4, stock.unet) as tried:
        for _ in range(2):
            generate_within_memory(stock, PROMPTS[:1], SEEDS[:1], ARMS, steps=2, batch_size=4)
        assert tried == [8, 4, 4, 4, 4]
        generate_within_memory(stock, PROMPTS[:1], SEEDS[:1], ARMS, steps=2, batch_size=4, height=8, width=8)
        assert tried == [8, 4, 4, 4, 4, 8, 4, 4]


def test_a_memory_for_no_picture_is_an_error(stock: StableDiffusionPipeline) -> None:
    with (
        memory_for(1, stock.unet),
        pytest.raises(MemoryTooSmall, match=r"one picture .* memory of cpu: .* Tried to allocate 2\.00 GiB\.$"),
    ):
        generate_within_memory(stock, PROMPTS[:1], SEEDS[:1], ARMS, steps=2, batch_size=4)


def test_enough_memory_changes_nothing(stock: StableDiffusionPipeline) -> None:
    result = generate_within_memory(stock, PROMPTS, SEEDS, ARMS, steps=2, batch_size=3)
    assert result.provenance == generate(stock, PROMPTS, SEEDS, ARMS, steps=2, batch_size=3).provenance
