"""What a run records beside its pictures: intermediates, semantic maps, provenance."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from evenhand.generation.guidance import Guidance, SegmentationFree
from evenhand.generation.plan import SCHEDULERS
from evenhand.generation.trajectory import generate
from tests.helpers.runs import CFG, PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler


def stock_latents_after(stock: StableDiffusionPipeline, scheduler: str, entry: int) -> torch.Tensor:
    """The stock pipeline's latents (2, 4, 8, 8) after its network call number ``entry``, scaled as it would be read."""
    use_scheduler(stock, scheduler)
    kept: dict[int, torch.Tensor] = {}

    def keep(_: object, index: int, __: object, values: dict) -> dict:
        sigma = stock.scheduler.sigmas[index + 1] if scheduler == "euler" else 0.0
        kept[index] = values["latents"] / (sigma**2 + 1) ** 0.5  # Karras et al. 2022, eq. 7, for σ_data = 1
        return {}

    start = first_noise(SEEDS)
    stock(
        PROMPTS,
        guidance_scale=8.5,
        latents=start,
        num_inference_steps=STEPS,
        output_type="latent",
        callback_on_step_end=keep,
    )
    return kept[entry]


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "euler", "pndm"])
def test_intermediates_are_the_noisy_latents_decoded(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline, scheduler: str
) -> None:
    decoded_latents: list[torch.Tensor] = []
    hook = pipeline.vae.post_quant_conv.register_forward_pre_hook(lambda _, args: decoded_latents.append(args[0]))
    result = run(pipeline, {"cfg": CFG}, scheduler=scheduler, intermediates=[0, 3])
    hook.remove()
    latents = stock_latents_after(stock, scheduler, 3 if scheduler == "pndm" else 2)
    final, noise, intermediate = decoded_latents  # the pictures alone say little: the decoder normalises scale away
    torch.testing.assert_close(intermediate, latents / stock.vae.config.scaling_factor, rtol=1e-6, atol=1e-6)
    assert not torch.equal(final, intermediate)
    sigma = stock.scheduler.sigmas[0] if scheduler == "euler" else 0.0
    begun = first_noise(SEEDS) * stock.scheduler.init_noise_sigma / (sigma**2 + 1) ** 0.5
    torch.testing.assert_close(noise, begun / stock.vae.config.scaling_factor, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        decoded = stock.vae.decode(latents / stock.vae.config.scaling_factor).sample
    expected = (decoded / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).mul(255).round().numpy()
    assert np.abs(result.intermediates["cfg"][3] - expected).max() <= 1  # a half may round either way
    assert not np.array_equal(result.intermediates["cfg"][3], result.images["cfg"])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_intermediates_begin_with_noise_and_end_with_the_picture(
    pipeline: StableDiffusionPipeline, scheduler: str
) -> None:
    arms: dict[str, Guidance] = {"cfg": CFG, "a": SegmentationFree(switch_after=2)}
    result = run(pipeline, arms, scheduler=scheduler, intermediates=range(STEPS + 1))
    for name in arms:
        assert list(result.intermediates[name]) == [0, 1, 2, 3, 4]
        assert np.array_equal(result.intermediates[name][STEPS], result.images[name])
    pairs = [(result.intermediates["cfg"][k], result.intermediates["a"][k]) for k in range(STEPS + 1)]
    assert [np.array_equal(one, other) for one, other in pairs] == [True, True, True, False, False]


def test_semantic_maps_name_a_token_for_each_patch(pipeline: StableDiffusionPipeline) -> None:
    arms: dict[str, Guidance] = {
        "cfg": CFG,
        "mean": SegmentationFree(switch_after=2),
        "heads": SegmentationFree(switch_after=3, heads="per_head"),
        "own": SegmentationFree(switch_after=2, tokens="prompt"),
    }
    result = run(pipeline, arms, height=16, width=24, semantic_maps=True)
    assert {name: list(maps) for name, maps in result.semantic_maps.items()} == {
        "cfg": [],
        "mean": [2, 3],
        "heads": [3],
        "own": [2, 3],
    }
    for name, heads in (("mean", 1), ("heads", 2), ("own", 1)):
        for maps in result.semantic_maps[name].values():
            sizes = {module.split("_")[0]: grid.shape for module, grid in maps.items()}
            assert sizes == {"down": (2, heads, 8, 12), "mid": (2, heads, 4, 6), "up": (2, heads, 8, 12)}
            assert all(grid.dtype == np.int16 for grid in maps.values())
            assert min(grid.min() for grid in maps.values()) > 0  # eq. 9: i > 0
    own = [grid for maps in result.semantic_maps["own"].values() for grid in maps.values()]
    words = [len(prompt.split()) for prompt in PROMPTS]  # one token a word in the tiny vocabulary
    assert [max(grid[picture].max() for grid in own) <= words[picture] for picture in (0, 1)] == [True, True]
    everywhere = [grid for maps in result.semantic_maps["mean"].values() for grid in maps.values()]
    assert max(grid.max() for grid in everywhere) > max(words)


def test_nothing_is_recorded_unless_asked_for(pipeline: StableDiffusionPipeline) -> None:
    result = generate(pipeline, PROMPTS, SEEDS, {"a": SegmentationFree(switch_after=0)}, steps=1, batch_size=2)
    assert result.latents is None
    assert result.intermediates == {"a": {}}
    assert result.semantic_maps == {"a": {}}


def test_provenance_is_what_the_bits_depend_on_beside_prompt_seed_and_arm(pipeline: StableDiffusionPipeline) -> None:
    result = run(pipeline, {"cfg": CFG}, scheduler="euler", height=20, width=16, batch_size=3)
    provenance = json.loads(json.dumps(result.provenance))
    assert provenance == result.provenance  # as JSON gives it back: it is stored with every image
    assert provenance["size"] == {"height": 20, "width": 16}
    assert provenance["rows"] == {"network": 8, "vae": 3, "text": 3}
    assert (provenance["device"], provenance["threads"], provenance["dtype"]) == ("cpu", 1, "float32")
    scheduler = provenance["scheduler"]
    assert (scheduler["name"], scheduler["class"], scheduler["steps"]) == ("euler", "EulerDiscreteScheduler", STEPS)
    assert EulerDiscreteScheduler.from_config(scheduler["config"]).config["beta_end"] == 0.012
