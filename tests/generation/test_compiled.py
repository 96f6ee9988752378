"""One compiled graph serves all arms: what differs between them is data, never code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch._dynamo.testing import CompileCounterWithBackend

from evenhand.generation.attention import RowChange, after_first, dense_perturbation, guide_attention
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.methods.smoothed_energy import SmoothedEnergy
from evenhand.generation.network import is_compiled
from evenhand.generation.trajectory import generate
from tests.helpers.tiny_models import tiny_xl_pipeline

TOKENS = 77
CPU = torch.device("cpu")


@pytest.fixture
def counter() -> Iterator[CompileCounterWithBackend]:
    """Counts the graphs that are made; a graph break or a recompilation would make another."""
    torch._dynamo.reset()
    yield CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()


def small_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    return unet.eval()


def inputs(rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 4, 8, 8, generator=generator), torch.randn(rows, TOKENS, 32, generator=generator)


ALL, OWN = after_first(TOKENS), torch.isin(torch.arange(TOKENS), torch.arange(1, 6))
ARMS: list[list[RowChange | None]] = [
    [RowChange(10.0, ALL), None, RowChange(10.0, ALL), None],
    [RowChange(5.0, ALL), RowChange(10.0, ALL), None, None],
    [None, RowChange(10.0, ALL, per_head=True), None, RowChange(0.5, OWN)],
    [RowChange(-1.0, OWN, per_head=True)] * 4,
    [None] * 4,  # classifier-free guidance
]


@torch.no_grad()
def test_one_graph_serves_every_scale_head_token_and_set_of_rows(counter: CompileCounterWithBackend) -> None:
    unet = small_unet()
    guide_attention(unet)
    compiled = torch.compile(unet, fullgraph=True, backend=counter)
    latents, text = inputs()
    for timestep, changes in zip((981, 501, 501, 1, 1), ARMS, strict=True):
        change = dense_perturbation(changes, tokens=TOKENS, device=CPU, dtype=torch.float32)
        call = {"encoder_hidden_states": text, "cross_attention_kwargs": {"perturbation": change}}
        expected = unet(latents, torch.tensor(timestep), **call).sample
        torch.testing.assert_close(compiled(latents, torch.tensor(timestep), **call).sample, expected)
        assert counter.frame_count == 1, f"the arm {changes} needed another graph"


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_plain_rows_of_the_dense_form_are_stock_bit_for_bit(dtype: torch.dtype) -> None:
    guided, stock = small_unet().to(dtype), small_unet().to(dtype)
    guide_attention(guided)
    latents, text = (each.to(dtype) for each in inputs())
    plain = stock(latents, 501, text).sample
    for changes in ARMS:
        change = dense_perturbation(changes, tokens=TOKENS, device=CPU, dtype=dtype)
        assert change.coefficient.dtype == torch.float32
        mixed = guided(latents, 501, text, cross_attention_kwargs={"perturbation": change}).sample
        unchanged = [each is None or each.scale == -1.0 for each in changes]
        assert [torch.equal(one, other) for one, other in zip(mixed, plain, strict=True)] == unchanged


def test_a_compiled_pipeline_makes_two_graphs_for_all_arms_and_the_same_pictures(
    stock: StableDiffusionPipeline, counter: CompileCounterWithBackend
) -> None:
    """One graph for plain calls, which need no correction, one for all others."""
    stock.unet = small_unet()
    arms: dict[str, Guidance] = {
        "cfg": ClassifierFree(),
        "a5": SegmentationFree(5.0, switch_after=1),
        "a10": SegmentationFree(10.0, switch_after=2, tokens="prompt"),
        "heads": SegmentationFree(10.0, switch_after=1, heads="per_head"),
    }
    settings: dict = {"prompts": ["a red circle", "a dog"], "seeds": [1, 2], "steps": 3, "batch_size": 2}
    expected = generate(stock, arms=arms, **settings)
    assert not is_compiled(stock.unet)
    stock.unet.compile(fullgraph=True, backend=counter)
    assert is_compiled(stock.unet)
    for some in (arms, {"a5": arms["a5"]}, {"heads": arms["heads"]}):
        result = generate(stock, arms=some, **settings)
        for name in some:
            assert np.abs(result.images[name].astype(int) - expected.images[name]).max() <= 1
    assert counter.frame_count == 2
    recorded = generate(stock, arms={"a5": arms["a5"]}, semantic_maps=True, **settings)
    assert recorded.semantic_maps["a5"][2]
    assert counter.frame_count == 2


@pytest.mark.slow
def test_a_compiled_xl_makes_two_graphs_for_all_arms_and_the_same_pictures(counter: CompileCounterWithBackend) -> None:
    """Its added conditions are data of the same graph."""
    pipeline = tiny_xl_pipeline()
    arms: dict[str, Guidance] = {
        "cfg": ClassifierFree(),
        "a5": SegmentationFree(5.0, switch_after=1),
        "negative": SegmentationFree(10.0, switch_after=1, opening=ClassifierFree(3.0, "a star")),
    }
    settings: dict = {"prompts": ["a red circle", "a dog"], "seeds": [1, 2], "steps": 2, "batch_size": 2}
    expected = generate(pipeline, arms=arms, scheduler="euler", **settings)
    pipeline.unet.compile(fullgraph=True, backend=counter)
    result = generate(pipeline, arms=arms, scheduler="euler", **settings)
    for name in arms:
        assert np.abs(result.images[name].astype(int) - expected.images[name]).max() <= 1
    assert counter.frame_count == 2
    assert result.provenance["compiled"]


def test_settings_of_changed_self_attention_are_data_of_one_graph(
    stock: StableDiffusionPipeline, counter: CompileCounterWithBackend
) -> None:
    """Strengths, blurs and which rows are changed need no other graph; other layers or another kind of change do."""
    stock.unet = small_unet()
    layers = ("mid_block",)
    arms: list[dict[str, Guidance]] = [
        {"a": SmoothedEnergy(3.0, layers, blur=1.0, switch_after=0)},
        {"a": SmoothedEnergy(5.0, layers, blur=None, switch_after=0), "b": SmoothedEnergy(2.0, layers, switch_after=0)},
    ]
    settings: dict = {"prompts": ["a red circle", "a dog"], "seeds": [1, 2], "steps": 2, "batch_size": 2}
    expected = [generate(stock, arms=each, **settings) for each in arms]
    stock.unet.compile(fullgraph=True, backend=counter)
    for each, images in zip(arms, expected, strict=True):
        result = generate(stock, arms=each, **settings)
        for name in each:
            assert np.abs(result.images[name].astype(int) - images.images[name]).max() <= 1
    assert counter.frame_count == 2  # a call of two arms is plain
    generate(stock, arms={"a": PerturbedAttention(3.0, layers, switch_after=0)}, **settings)
    assert counter.frame_count == 3
