"""The fixed shape of every network, VAE and text call; evaluations as a hook on the network counts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.generation.attention import cross_attention_modules
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.network import network_rows
from evenhand.generation.plan import SCHEDULERS, count_evaluations
from evenhand.generation.trajectory import generate

CFG, A5, A10 = ClassifierFree(), SegmentationFree(5.0), SegmentationFree(10.0)
PROMPTS = ["a red circle", "a dog left of a cat", "the blue star", "a green square and a star", "a cat on the dog"]


@contextmanager
def calls_of(module: torch.nn.Module) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The arguments of every call of a module, as they come."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    hook = module.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def distinct_rows(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[object, ...]]:
    """What each row of a UNet call is computed from, as bytes."""
    change = kwargs["cross_attention_kwargs"].get("perturbation")
    scales = [0.0] * len(args[0])
    if change is not None:
        for row, coefficient in zip(
            torch.arange(len(scales))[change.rows].tolist(), change.coefficient.flatten().tolist(), strict=True
        ):
            scales[row] = coefficient
    texts = kwargs["encoder_hidden_states"]
    return [
        (latent.numpy().tobytes(), int(args[1]), text.numpy().tobytes(), scale)
        for latent, text, scale in zip(args[0], texts, scales, strict=True)
    ]


@pytest.mark.parametrize(
    ("arms", "a_prompt"),
    [
        ({"cfg": CFG}, 40),
        ({"cfg": CFG, "a10": A10}, 59),
        ({"a5": A5, "a10": A10}, 59),  # the baseline exists already
        ({"cfg": CFG, "a5": A5, "a10": A10}, 78),
    ],
)
def test_the_network_is_evaluated_as_often_as_the_method_says(
    pipeline: StableDiffusionPipeline, arms: Mapping[str, Guidance], a_prompt: int
) -> None:
    """method §1.12, at T = 20 and t_s = 10. Two prompts in calls of four rows: 59 a prompt leaves two rows over."""
    with calls_of(pipeline.unet) as calls:
        result = generate(pipeline, PROMPTS[:2], [1, 2], arms, batch_size=2)
    assert result.evaluations == 2 * a_prompt
    assert {len(args[0]) for args, _ in calls} == {4}
    assert 4 * len(calls) == 2 * a_prompt + (2 if a_prompt == 59 else 0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_row_is_computed_twice_but_as_padding(pipeline: StableDiffusionPipeline, scheduler: str) -> None:
    arms: dict[str, Guidance] = {
        "cfg": CFG,
        "twin": ClassifierFree(7.5),
        "stronger": ClassifierFree(9.0),
        "a5": SegmentationFree(5.0, switch_after=2),
        "a10": SegmentationFree(10.0, switch_after=2),
        "w": SegmentationFree(10.0, 5.0, switch_after=2),
        "late": SegmentationFree(10.0, switch_after=3),
    }
    with calls_of(pipeline.unet) as calls:
        result = generate(pipeline, PROMPTS[:3], [1, 2, 3], arms, steps=4, batch_size=3, scheduler=scheduler)
    computed = {row for args, kwargs in calls for row in distinct_rows(args, kwargs)}
    timesteps = len({int(args[1]) for args, _ in calls})
    again = 4 + (scheduler == "pndm") - timesteps  # PNDM sees its second timestep twice, from other latents
    assert again == (scheduler == "pndm")
    # Padding repeats a last row without its perturbation: at most one more distinct row for each set of calls.
    assert result.evaluations <= len(computed) <= result.evaluations + 4 + again
    assert result.evaluations == count_evaluations(arms, 4, scheduler, 3)


def test_text_is_projected_once_for_each_set_of_rows(pipeline: StableDiffusionPipeline) -> None:
    """Its keys and values are the same at every iteration."""
    module = pipeline.unet.get_submodule(cross_attention_modules(pipeline.unet)[0])
    with calls_of(module.to_k) as projected, calls_of(pipeline.unet) as calls:
        arms: dict[str, Guidance] = {"cfg": CFG, "a5": SegmentationFree(5.0, switch_after=2)}
        generate(pipeline, PROMPTS[:2], [1, 2], arms, steps=6, batch_size=2)
    # Calls of four rows: the prefix needs one, the branches' first iteration (six rows) and the others (eight) two.
    assert len(calls) == 2 * 1 + 1 * 2 + 3 * 2
    assert len(projected) == 1 + 2 + 2


def test_progress_counts_up_to_all_evaluations(pipeline: StableDiffusionPipeline) -> None:
    told: list[tuple[int, int]] = []
    arms: dict[str, Guidance] = {"cfg": CFG, "a5": A5}
    result = generate(pipeline, PROMPTS, range(5), arms, steps=4, batch_size=2, progress=lambda *now: told.append(now))
    assert {total for _, total in told} == {result.evaluations} == {count_evaluations(arms, 4, prompts=5)}
    done = [now for now, _ in told]
    assert done == sorted(set(done))
    assert done[-1] == result.evaluations
    assert len(told) == 3 * 4  # every iteration of three batches


def test_pictures_are_told_as_they_come(pipeline: StableDiffusionPipeline) -> None:
    """Each one once, an arm's twin too, and before the next call of the decoder."""
    told: dict[tuple[str, int], np.ndarray] = {}
    seen: list[int] = []
    arms: dict[str, Guidance] = {"cfg": CFG, "a5": SegmentationFree(5.0, switch_after=1), "twin": ClassifierFree(7.5)}

    def on_picture(arm: str, index: int, picture: np.ndarray) -> None:
        assert (arm, index) not in told
        told[arm, index] = picture.copy()

    hook = pipeline.vae.decoder.register_forward_pre_hook(lambda *_: seen.append(len(told)))
    try:
        result = generate(pipeline, PROMPTS, range(5), arms, steps=2, batch_size=2, on_picture=on_picture)
    finally:
        hook.remove()
    assert set(told) == {(arm, index) for arm in arms for index in range(5)}
    assert all(np.array_equal(result.images[arm][index], picture) for (arm, index), picture in told.items())
    assert seen == [0, 4, 6, 10, 12]  # classifier-free pictures count twice; the last batch is one call


def test_every_call_has_the_shape_that_the_batch_size_gives(pipeline: StableDiffusionPipeline) -> None:
    """A lone picture, a full batch, more arms than rows: always the same number of rows."""
    shapes: list[tuple[int, dict[str, Guidance]]] = [
        (1, {"cfg": CFG}),
        (3, {"cfg": CFG}),
        (4, {"cfg": CFG, "a5": A5, "a10": A10}),
    ]
    for prompts, arms in shapes:
        with (
            calls_of(pipeline.unet) as network,
            calls_of(pipeline.vae.decoder) as decoder,
            calls_of(pipeline.text_encoder) as text,
        ):
            generate(pipeline, PROMPTS[:prompts], range(prompts), arms, steps=2, batch_size=3)
        assert {len(args[0]) for args, _ in network} == {8}
        assert {len(args[0]) for args, _ in decoder} == {3}
        assert {len(args[0] if args else kwargs["input_ids"]) for args, kwargs in text} == {3}


@pytest.mark.parametrize(("batch_size", "rows"), [(1, 2), (2, 4), (3, 8), (4, 8), (5, 12), (8, 16), (9, 20)])
def test_rows_of_a_network_call(batch_size: int, rows: int) -> None:
    assert network_rows(batch_size) == rows


ARMS: dict[str, Guidance] = {
    "cfg": CFG,
    "a5": SegmentationFree(5.0, switch_after=1),
    "heads": SegmentationFree(heads="per_head"),
}
pictures = st.lists(st.tuples(st.sampled_from(PROMPTS), st.integers(0, 2**63 - 1)), min_size=1, max_size=5)


@pytest.mark.parametrize(("batch_size", "threads"), [(1, 1), (2, 1), (3, 1), (5, 1), (3, 2)])
def test_a_picture_does_not_depend_on_its_companions_its_slot_or_other_arms(
    pipeline: StableDiffusionPipeline, batch_size: int, threads: int
) -> None:
    torch.set_num_threads(threads)

    @given(pictures, st.sampled_from([["a5"], ["a5", "cfg"], ["heads", "a5"], ["cfg", "a5", "heads"]]))
    @settings(max_examples=4 if threads == 1 else 2, deadline=None)
    def check(chosen: Sequence[tuple[str, int]], names: Sequence[str]) -> None:
        arms = {name: ARMS[name] for name in names}
        wanted: dict[str, Any] = {"steps": 2, "batch_size": batch_size, "return_latents": True}
        prompts, seeds = zip(*chosen, strict=True)
        together = generate(pipeline, prompts, seeds, arms, scheduler="ddpm", **wanted)
        alone = generate(pipeline, prompts[-1:], seeds[-1:], {"a5": ARMS["a5"]}, scheduler="ddpm", **wanted)
        assert together.latents is not None
        assert alone.latents is not None
        assert np.array_equal(together.latents["a5"][-1], alone.latents["a5"][0])
        assert np.array_equal(together.images["a5"][-1], alone.images["a5"][0])

    check()
