"""Pictures against the slow reference, against the stock pipeline, and the properties of method §1.11."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.plan import SCHEDULERS
from evenhand.generation.trajectory import generate
from tests.helpers.compared_arms import ARMS, tokens_in_call_order
from tests.helpers.reference import Arm, reference_latents
from tests.helpers.runs import CFG, PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_arm_equals_the_reference_in_double_precision(
    pipeline64: StableDiffusionPipeline, scheduler: str
) -> None:
    result = run(pipeline64, {name: ours for name, (ours, _) in ARMS.items()}, scheduler=scheduler)
    assert result.latents is not None
    for name, (_, theirs) in ARMS.items():
        for picture in (0, 1) if scheduler == "ddim" else (1,):  # the reference is slow
            prompt, seed = PROMPTS[picture], SEEDS[picture]
            expected, _ = reference_latents(pipeline64, prompt, seed, theirs, steps=STEPS, scheduler=scheduler)
            np.testing.assert_allclose(
                result.latents[name][picture], expected.numpy(), rtol=0, atol=1e-7, err_msg=f"{name}, {prompt}"
            )


def test_the_arms_of_the_comparison_with_the_reference_all_differ(pipeline64: StableDiffusionPipeline) -> None:
    """Else equality with the reference would not show that options do anything."""
    result = run(pipeline64, {name: ours for name, (ours, _) in ARMS.items()})
    assert result.latents is not None
    same = {"classifier-free", "t_s = T"}
    for one in ARMS:
        for other in ARMS:
            if one != other and {one, other} != same:
                apart = np.abs(result.latents[one] - result.latents[other]).max(axis=(1, 2, 3))
                assert (apart > 1e-4).all(), f"{one} and {other}"


@pytest.mark.parametrize("name", ["segmentation-free", "per head", "own tokens", "t_s = 0"])
def test_semantic_maps_equal_the_reference(pipeline64: StableDiffusionPipeline, name: str) -> None:
    ours, theirs = ARMS[name]
    result = run(pipeline64, {name: ours, "cfg": CFG}, semantic_maps=True)
    for picture, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        _, expected = reference_latents(pipeline64, prompt, seed, theirs, steps=STEPS, scheduler="ddim")
        chosen = tokens_in_call_order(result, name, picture)
        assert len(chosen) == len(expected)
        assert all(np.array_equal(one, other) for one, other in zip(chosen, expected, strict=True))


def test_the_papers_twenty_iterations_equal_the_reference(pipeline64: StableDiffusionPipeline) -> None:
    """T = 20, t_s = T/2 by default, CFG with w = 7.5 and a in {5, 10} with w̄ = 2.5."""
    arms: dict[str, Guidance] = {"cfg": CFG, "a5": SegmentationFree(5.0), "a10": SegmentationFree()}
    result = generate(pipeline64, PROMPTS[:1], SEEDS[:1], arms, batch_size=1, return_latents=True)
    assert result.latents is not None
    theirs = {"cfg": Arm(), "a5": Arm(scale=5.0), "a10": Arm(scale=10.0)}
    for name, arm in theirs.items():
        expected, _ = reference_latents(pipeline64, PROMPTS[0], SEEDS[0], arm, steps=20, scheduler="ddim")
        np.testing.assert_allclose(result.latents[name][0], expected.numpy(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["classifier-free", "segmentation-free", "per head"])
def test_single_precision_equals_the_reference_where_the_semantic_tokens_agree(
    pipeline: StableDiffusionPipeline, name: str
) -> None:
    """Near ties of eq. 9 may fall the other way in other arithmetic; such flips are counted, and rare."""
    ours, theirs = ARMS[name]
    prompts, seeds = PROMPTS * 4, list(range(8))
    result = generate(
        pipeline, prompts, seeds, {name: ours}, steps=STEPS, batch_size=2, return_latents=True, semantic_maps=True
    )
    assert result.latents is not None
    flips = patches = agreeing = 0
    for picture, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        expected, theirs_chose = reference_latents(pipeline, prompt, seed, theirs, steps=STEPS, scheduler="ddim")
        chosen = tokens_in_call_order(result, name, picture)
        flipped = sum(int((one != other).sum()) for one, other in zip(chosen, theirs_chose, strict=True))
        flips, patches = flips + flipped, patches + sum(each.size for each in chosen)
        if not flipped:
            agreeing += 1
            np.testing.assert_allclose(result.latents[name][picture], expected.numpy(), rtol=0, atol=2e-4)
    assert flips <= 0.001 * patches
    assert agreeing >= 6


# ------------------------------------------------------------------------------ the stock pipeline


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "euler", "pndm"])
def test_classifier_free_guidance_is_the_stock_pipelines_bit_for_bit(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline, scheduler: str
) -> None:
    """The paper's w = 7.5 is diffusers' guidance_scale 8.5 (method §1.2)."""
    use_scheduler(stock, scheduler)
    start = first_noise(SEEDS)
    settings: dict = {"latents": start, "num_inference_steps": STEPS, "negative_prompt": ["a cat"] * 2}
    latents = stock(PROMPTS, guidance_scale=8.5, output_type="latent", **settings).images
    pictures = stock(PROMPTS, guidance_scale=8.5, output_type="pil", **settings).images
    result = run(pipeline, {"cfg": ClassifierFree(7.5, "a cat")}, scheduler=scheduler)
    assert result.latents is not None
    assert np.array_equal(result.latents["cfg"], latents.numpy())
    assert np.array_equal(result.images["cfg"], np.stack([np.asarray(picture) for picture in pictures]))


def test_a_of_minus_one_is_the_unguided_conditional_bit_for_bit(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline
) -> None:
    use_scheduler(stock, "ddim")
    start = first_noise(SEEDS * 2)
    # guidance_scale 1 runs the conditional alone: four pictures have the same call shape as two with their ε̄.
    latents = stock(
        PROMPTS * 2, guidance_scale=1.0, latents=start, num_inference_steps=STEPS, output_type="latent"
    ).images
    result = run(pipeline, {"same": SegmentationFree(-1.0, strength=2.5, switch_after=0)})
    assert result.latents is not None
    assert np.array_equal(result.latents["same"], latents[:2].numpy())


def test_generating_leaves_other_uses_of_the_pipeline_as_they_were(stock: StableDiffusionPipeline) -> None:
    settings: dict = {"num_inference_steps": 2, "output_type": "latent", "latents": torch.ones(1, 4, 8, 8)}
    before = stock(PROMPTS[0], **settings).images
    scheduler = stock.scheduler
    run(stock, {"a": SegmentationFree(switch_after=1)}, steps=2, scheduler="euler")
    assert stock.scheduler is scheduler
    assert torch.equal(stock(PROMPTS[0], **settings).images, before)


# ------------------------------------------------------------------------------ arms


def test_a_switch_after_the_last_iteration_is_classifier_free_guidance(pipeline: StableDiffusionPipeline) -> None:
    never = run(pipeline, {"a": SegmentationFree(10.0, switch_after=STEPS)})
    plain = run(pipeline, {"a": CFG})
    assert np.array_equal(never.images["a"], plain.images["a"])
    assert never.evaluations == plain.evaluations == 2 * STEPS * len(PROMPTS)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_arms_from_one_trajectory_equal_separate_runs_bit_for_bit(
    pipeline: StableDiffusionPipeline, scheduler: str
) -> None:
    arms: dict[str, Guidance] = {
        "cfg": CFG,
        "a5": SegmentationFree(5.0, switch_after=2),
        "a10": SegmentationFree(10.0, switch_after=2),
        "stronger": SegmentationFree(10.0, strength=5.0, switch_after=2),
        "earlier": SegmentationFree(10.0, switch_after=1),
        "per head": SegmentationFree(10.0, switch_after=0, heads="per_head"),
        "negative": ClassifierFree(3.0, "a star"),
    }
    together = run(pipeline, arms, scheduler=scheduler, intermediates=[3], semantic_maps=True)
    assert together.latents is not None
    for name, guidance in arms.items():
        alone = run(pipeline, {name: guidance}, scheduler=scheduler, intermediates=[3], semantic_maps=True)
        assert alone.latents is not None
        assert np.array_equal(together.latents[name], alone.latents[name]), name
        assert np.array_equal(together.images[name], alone.images[name]), name
        assert np.array_equal(together.intermediates[name][3], alone.intermediates[name][3]), name
        assert together.semantic_maps[name].keys() == alone.semantic_maps[name].keys()
        for iteration, maps in alone.semantic_maps[name].items():
            for module, grid in maps.items():
                assert np.array_equal(together.semantic_maps[name][iteration][module], grid), name
        assert together.evaluations > alone.evaluations


def test_images_are_in_prompt_order_and_named_as_the_arms(pipeline: StableDiffusionPipeline) -> None:
    forward = run(pipeline, {"b": CFG, "a": SegmentationFree(switch_after=1)}, batch_size=1)
    arms: dict[str, Guidance] = {"a": SegmentationFree(switch_after=1), "b": CFG}
    backward = generate(pipeline, PROMPTS[::-1], SEEDS[::-1], arms, steps=STEPS, batch_size=1)
    assert list(forward.images) == ["b", "a"]
    for name, images in forward.images.items():
        assert images.dtype == np.uint8
        assert images.shape == (2, 16, 16, 3)
        assert np.array_equal(images, backward.images[name][::-1])


# ------------------------------------------------------------------------------ precision


def test_single_precision_latents_are_float32_and_double_stay_float64(
    pipeline: StableDiffusionPipeline, pipeline64: StableDiffusionPipeline
) -> None:
    for each, dtype in ((pipeline, np.float32), (pipeline64, np.float64)):
        latents = run(each, {"cfg": CFG}, steps=1).latents
        assert latents is not None
        assert latents["cfg"].dtype == dtype
        assert latents["cfg"].shape == (2, 4, 8, 8)


def test_half_precision_runs_and_is_near_single_precision(
    pipeline: StableDiffusionPipeline, pipeline16: StableDiffusionPipeline
) -> None:
    arms: dict[str, Guidance] = {"a": SegmentationFree(switch_after=1)}
    half, single = (run(each, arms, steps=2) for each in (pipeline16, pipeline))
    assert half.latents is not None
    assert single.latents is not None
    assert half.latents["a"].dtype == np.float32
    assert half.provenance["dtype"] == "bfloat16"
    # bfloat16 keeps 8 bits; semantic tokens flip. The noise is the same, so the pictures remain alike.
    assert np.corrcoef(half.latents["a"].ravel(), single.latents["a"].ravel())[0, 1] > 0.98


# ------------------------------------------------------------------------------ input that cannot be run


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompts": "a dog"}, r"list of texts, not the one text 'a dog'"),
        ({"prompts": [], "seeds": []}, r"at least one text"),
        ({"prompts": ["a dog", " "]}, r"prompt 1 .*' '"),
        ({"prompts": ["a dog", None]}, r"prompt 1 .*None"),
        ({"seeds": [1]}, r"2 prompts, 1 seeds"),
        ({"seeds": [1, -2]}, r"seed 1 .*-2"),
        ({"seeds": [1, 2**63]}, r"seed 1 .*9223372036854775808"),
        ({"seeds": [1.5, 2]}, r"seed 0 .*1\.5"),
        ({"seeds": [True, 2]}, r"seed 0 .*True"),
        ({"arms": {}}, r"at least one guidance"),
        ({"arms": {"a": 7.5}}, r"arm 'a' .*7\.5"),
        ({"arms": {"a": SegmentationFree(switch_after=5)}}, r"switch_after must lie in 0…4 .*not 5"),
        ({"steps": 0}, r"steps .*0"),
        ({"steps": 1001}, r"steps .*1000 training steps, not 1001"),
        ({"scheduler": "heun"}, r"scheduler must be one of ddim, ddpm, dpm_solver, euler, pndm, not 'heun'"),
        ({"height": 15}, r"height must be a positive multiple of 2 pixels, not 15"),
        ({"width": 0}, r"width .*not 0"),
        ({"width": "16"}, r"width .*'16'"),
        ({"batch_size": 0}, r"batch_size .*0"),
        ({"batch_size": 2.0}, r"batch_size .*2\.0"),
        ({"intermediates": [5]}, r"intermediates .*0…4, not 5"),
        ({"intermediates": [-1]}, r"intermediates .*not -1"),
    ],
)
def test_what_cannot_be_run_is_named(
    pipeline: StableDiffusionPipeline, changed: dict[str, object], message: str
) -> None:
    arguments: dict = {"prompts": PROMPTS, "seeds": SEEDS, "arms": {"cfg": CFG}, "steps": STEPS} | changed
    with pytest.raises(ValueError, match=message):
        generate(pipeline, arguments.pop("prompts"), arguments.pop("seeds"), arguments.pop("arms"), **arguments)


def test_numpy_seeds_are_seeds(pipeline: StableDiffusionPipeline) -> None:
    whole: Sequence[int] = [3, 11]
    numpy = list(np.array(whole, dtype=np.uint32))
    one, other = (generate(pipeline, PROMPTS, seeds, {"cfg": CFG}, steps=1, batch_size=2) for seeds in (whole, numpy))
    assert np.array_equal(one.images["cfg"], other.images["cfg"])
