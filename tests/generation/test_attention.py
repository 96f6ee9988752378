from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.generation.attention import (
    AttentionError,
    GuidedAttention,
    RowChange,
    SemanticMaps,
    after_first,
    cross_attention_modules,
    dense_perturbation,
    guide_attention,
    perturbation,
    project_text,
)

TOKENS, PATCHES, HEADS, WIDTH = 9, 6, 2, 4  # WIDTH of one head
CPU = torch.device("cpu")

scales = st.floats(-60, 60)
changes = st.lists(
    st.none()
    | st.builds(
        RowChange,
        scale=scales,
        allowed_tokens=st.integers(2, TOKENS).map(
            lambda stop: (torch.arange(TOKENS) > 0) & (torch.arange(TOKENS) < stop)
        ),
        per_head=st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


def cross_attention(dtype: torch.dtype = torch.float64) -> Attention:
    torch.manual_seed(5)
    module = Attention(query_dim=7, cross_attention_dim=5, heads=HEADS, dim_head=WIDTH).to(dtype)
    for projection in (module.to_q, module.to_k):
        projection.weight.data *= 3  # sharp attention: patches choose different tokens
    return module


def states(rows: int, dtype: torch.dtype = torch.float64, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches (rows, PATCHES, 7) and text (rows, TOKENS, 5)."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn((rows, PATCHES, 7), generator=generator, dtype=torch.float64)
    text = torch.randn((rows, TOKENS, 5), generator=generator, dtype=torch.float64)
    return patches.to(dtype), text.to(dtype)


def explicit(module: Attention, patches: torch.Tensor, text: torch.Tensor, change: RowChange) -> np.ndarray:
    """Eq. 9 and 10 for one row, with loops: softmax, the semantic token's weight times −a, no renormalising."""
    query, key, value = (
        projection(source).detach().double().numpy().reshape(len(source), HEADS, WIDTH)
        for projection, source in ((module.to_q, patches), (module.to_k, text), (module.to_v, text))
    )
    merged = np.zeros((PATCHES, HEADS, WIDTH))
    for patch in range(PATCHES):
        weights = np.exp([key[:, head] @ query[patch, head] / WIDTH**0.5 for head in range(HEADS)])
        weights /= weights.sum(axis=1, keepdims=True)
        for head in range(HEADS):
            scores = weights[head] if change.per_head else weights.mean(axis=0)
            token = max((i for i in range(TOKENS) if change.allowed_tokens[i]), key=lambda i: scores[i])
            changed = weights[head].copy()
            changed[token] *= -change.scale
            merged[patch, head] = changed @ value[:, head]
    return module.to_out[0](torch.from_numpy(merged.reshape(PATCHES, -1))).detach().numpy()


@given(changes, st.integers(0, 10))
@settings(deadline=None)
def test_each_row_is_changed_as_it_asks_and_plain_rows_are_stock(rows: list[RowChange | None], seed: int) -> None:
    module = cross_attention()
    patches, text = states(len(rows), seed=seed)
    stock = AttnProcessor2_0()(module, patches, text)
    guided = GuidedAttention("m")(
        module, patches, text, perturbation=perturbation(rows, device=CPU, dtype=torch.float64)
    )
    for row, change in enumerate(rows):
        if change is None:
            assert torch.equal(guided[row], stock[row])
        else:
            expected = explicit(module, patches[row], text[row], change)
            np.testing.assert_allclose(guided[row].detach().numpy(), expected, rtol=0, atol=1e-11)


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
@settings(deadline=None)
def test_minus_one_and_plain_rows_are_stock_bit_for_bit(perturbed: list[bool], dtype: torch.dtype) -> None:
    module = cross_attention(dtype)
    patches, text = states(len(perturbed), dtype)
    rows = [RowChange(-1.0, after_first(TOKENS)) if each else None for each in perturbed]
    stock = AttnProcessor2_0()(module, patches, text)
    guided = GuidedAttention("m")(module, patches, text, perturbation=perturbation(rows, device=CPU, dtype=dtype))
    assert torch.equal(guided, stock)


def test_zero_removes_the_token_and_nothing_is_renormalised() -> None:
    """a = 0 is stock attention in which the value of the patch's semantic token is zero."""
    module = cross_attention()
    module.to_out[0].bias.data.zero_()
    patches, text = states(1)
    maps: SemanticMaps = {}
    change = perturbation([RowChange(0.0, after_first(TOKENS))], device=CPU, dtype=torch.float64)
    guided = GuidedAttention("m")(module, patches, text, perturbation=change, semantic_maps=maps)
    values = module.to_v
    for patch in range(PATCHES):
        token = int(maps["m"][0, 0, patch])

        def without(source: torch.Tensor, token: int = token) -> torch.Tensor:
            kept = torch.ones(TOKENS, 1, dtype=torch.float64)
            kept[token] = 0.0
            return values(source) * kept

        module.to_v = torch.nn.Module()
        module.to_v.forward = without
        removed = AttnProcessor2_0()(module, patches, text)
        module.to_v = values
        torch.testing.assert_close(guided[0, patch], removed[0, patch], rtol=0, atol=1e-12)


def worked_example() -> tuple[Attention, torch.Tensor, torch.Tensor]:
    """Two heads of width one, identity projections, one patch (1, 1), four tokens: logits are the text itself.

    head 0: 5 2 1 0     softmax .9304 .0463 .0170 .0063
    head 1: 0 0 1.5 1.6 softmax .0875 .0875 .3919 .4332     mean .5089 .0669 .2045 .2197
    """
    module = Attention(query_dim=2, cross_attention_dim=2, heads=2, dim_head=1, out_bias=False).double()
    for projection in (module.to_q, module.to_k, module.to_v, module.to_out[0]):
        projection.weight.data = torch.eye(2, dtype=torch.float64)
    text = torch.tensor([[[5.0, 0.0], [2.0, 0.0], [1.0, 1.5], [0.0, 1.6]]], dtype=torch.float64)
    return module, torch.ones(1, 1, 2, dtype=torch.float64), text


@pytest.mark.parametrize(
    ("per_head", "expected", "subtracted"),
    [
        # The mean of probabilities names token 3; the mean of logits would name 2, head 0 alone 1, i ≥ 0 token 0.
        (False, [[3]], [0.0, 0.4332 * 1.6]),
        (True, [[1], [3]], [0.0463 * 2.0, 0.4332 * 1.6]),
    ],
)
def test_the_semantic_token_of_a_worked_example(
    per_head: bool, expected: list[list[int]], subtracted: list[float]
) -> None:
    module, patches, text = worked_example()
    maps: SemanticMaps = {}
    change = perturbation([RowChange(2.0, after_first(4), per_head)], device=CPU, dtype=torch.float64)
    guided = GuidedAttention("m")(module, patches, text, perturbation=change, semantic_maps=maps)
    stock = AttnProcessor2_0()(module, patches, text)
    assert maps["m"][0, :, 0].tolist() == [token for row in expected for token in row]
    np.testing.assert_allclose((stock - guided)[0, 0].detach(), 3 * np.array(subtracted), atol=3e-4)


def test_only_allowed_tokens_are_chosen() -> None:
    module, patches, text = worked_example()
    for allowed, token in (([0, 1, 1, 0], 2), ([0, 1, 0, 0], 1)):
        maps: SemanticMaps = {}
        change = perturbation([RowChange(2.0, torch.tensor(allowed).bool())], device=CPU, dtype=torch.float64)
        GuidedAttention("m")(module, patches, text, perturbation=change, semantic_maps=maps)
        assert maps["m"].tolist() == [[[token]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_corrected_in_single_precision(dtype: torch.dtype) -> None:
    """The correction of a = 50 is large; in half-precision arithmetic it would be wrong by more than its rounding."""
    module, exact = cross_attention(dtype), cross_attention(dtype).double()
    patches, text = states(1, dtype)
    change = RowChange(50.0, torch.arange(TOKENS) == 3)
    coefficients = perturbation([change], device=CPU, dtype=dtype)
    assert coefficients is not None
    assert coefficients.coefficient.dtype == torch.float32
    guided = GuidedAttention("m")(module, patches, text, perturbation=coefficients)
    assert guided.dtype == dtype
    expected = explicit(exact, patches[0].double(), text[0].double(), change)
    # Rounded are the projections, the stock output, the corrected output: a few times the precision.
    error = np.abs(guided[0].float().detach().numpy() - expected).max()
    assert error < 4 * torch.finfo(dtype).eps * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_chooses_the_token_in_single_precision(dtype: torch.dtype) -> None:
    """Two weights that are one number in half precision: rounded before the argmax, the first would win the tie."""
    module, patches, text = worked_example()
    module, patches = module.to(dtype), patches.to(dtype)
    step = torch.finfo(dtype).eps / 2  # the next number above 0.75
    text = torch.tensor([[[0.0, 0.0], [0.75, 0.75], [0.75, 0.75 + step], [0.0, 0.0]]], dtype=dtype)
    weights = text[0].double().softmax(dim=0).mean(dim=1)  # one query of ones: the logits are the text itself
    assert weights[1] < weights[2]
    assert weights[1].to(dtype) == weights[2].to(dtype)
    maps: SemanticMaps = {}
    change = perturbation([RowChange(2.0, after_first(4))], device=CPU, dtype=dtype)
    GuidedAttention("m")(module, patches, text, perturbation=change, semantic_maps=maps)
    assert maps["m"].tolist() == [[[2]]]


def test_plain_batches_have_no_perturbation() -> None:
    assert perturbation([None, None], device=CPU, dtype=torch.float32) is None


def test_the_unet_keeps_plain_rows_bit_identical_in_a_mixed_batch(
    pipeline: StableDiffusionPipeline, stock: StableDiffusionPipeline
) -> None:
    generator = torch.Generator().manual_seed(2)
    latents, text = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 77, 32, generator=generator)
    guide_attention(pipeline.unet)
    change = RowChange(10.0, after_first(77))
    keywords = {"perturbation": perturbation([None, change, None, change], device=CPU, dtype=torch.float32)}
    with torch.no_grad():
        plain = stock.unet(latents, 501, text).sample
        mixed = pipeline.unet(latents, 501, text, cross_attention_kwargs=keywords).sample
    assert [torch.equal(one, other) for one, other in zip(mixed, plain, strict=True)] == [True, False, True, False]


@pytest.mark.parametrize("perturbed", [[], [1], [1, 3], [2, 3], [0, 1, 2, 3]])
def test_text_projected_beforehand_changes_no_bit(stock: StableDiffusionPipeline, perturbed: list[int]) -> None:
    """In plain batches too, where the module itself would run stock attention."""
    generator = torch.Generator().manual_seed(2)
    latents, text = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 77, 32, generator=generator)
    guide_attention(stock.unet)
    rows = [RowChange(10.0, after_first(77)) if row in perturbed else None for row in range(4)]
    keywords: dict[str, object] = {"perturbation": perturbation(rows, device=CPU, dtype=torch.float32)}
    with torch.no_grad():
        expected = stock.unet(latents, 501, text, cross_attention_kwargs=keywords).sample
        keywords["text_projections"] = project_text(stock.unet, text)
        projected = stock.unet(latents, 501, torch.full_like(text, torch.nan), cross_attention_kwargs=keywords).sample
    assert torch.equal(projected, expected)


@pytest.mark.parametrize(("perturbed", "positions"), [([2], slice(2, 3)), ([1, 2], slice(1, 3)), ([0, 2], [0, 2])])
def test_a_run_of_rows_is_a_slice_and_changes_no_bit(perturbed: list[int], positions: slice | list[int]) -> None:
    module = cross_attention()
    rows = [RowChange(row + 1.0, after_first(TOKENS)) if row in perturbed else None for row in range(4)]
    change = perturbation(rows, device=CPU, dtype=torch.float64)
    assert change is not None
    assert (change.rows.tolist() if isinstance(change.rows, torch.Tensor) else change.rows) == positions
    by_index = change._replace(rows=torch.tensor(perturbed))
    with torch.no_grad():  # where the corrected rows are written in place
        sliced, indexed = (GuidedAttention("m")(module, *states(4), perturbation=each) for each in (change, by_index))
    assert torch.equal(sliced, indexed)


def test_gradients_flow_through_the_correction() -> None:
    """As through the dense correction, which writes nothing in place."""
    rows = [None, RowChange(3.0, after_first(TOKENS)), None]
    dense = dense_perturbation(rows, tokens=TOKENS, device=CPU, dtype=torch.float64)
    module, (patches, text) = cross_attention(), states(3)
    gradients = []
    for change in (perturbation(rows, device=CPU, dtype=torch.float64), dense):
        leaf = patches.clone().requires_grad_()
        GuidedAttention("m")(module, leaf, text, perturbation=change).square().sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_maps_are_recorded_under_the_names_of_the_modules(stock: StableDiffusionPipeline) -> None:
    guide_attention(stock.unet)
    maps: SemanticMaps = {}
    change = perturbation([None, RowChange(10.0, after_first(77))], device=CPU, dtype=torch.float32)
    with torch.no_grad():
        stock.unet(
            torch.ones(2, 4, 8, 8),
            1,
            torch.randn(2, 77, 32, generator=torch.Generator().manual_seed(2)),
            cross_attention_kwargs={"perturbation": change, "semantic_maps": maps},
        )
    assert sorted(maps) == sorted(cross_attention_modules(stock.unet))
    assert all(tokens.shape[:2] == (1, 1) for tokens in maps.values())  # one perturbed row, one map for all heads


# ------------------------------------------------------------------------------ which networks can be guided


def test_guiding_twice_changes_nothing(stock: StableDiffusionPipeline) -> None:
    guide_attention(stock.unet)
    before = dict(stock.unet.attn_processors)
    guide_attention(stock.unet)
    after = stock.unet.attn_processors
    assert all(after[name] is processor for name, processor in before.items())
    assert {type(processor) for processor in after.values()} == {GuidedAttention}


def test_a_module_that_lost_its_guidance_gets_it_again(stock: StableDiffusionPipeline) -> None:
    guide_attention(stock.unet)
    name = cross_attention_modules(stock.unet)[0]
    stock.unet.get_submodule(name).set_processor(AttnProcessor2_0())
    guide_attention(stock.unet)
    assert isinstance(stock.unet.get_submodule(name).processor, GuidedAttention)


def test_other_processors_are_refused_by_name(stock: StableDiffusionPipeline) -> None:
    name = cross_attention_modules(stock.unet)[1]
    stock.unet.get_submodule(name).set_processor(AttnProcessor())
    with pytest.raises(AttentionError, match=rf"{name}.* is AttnProcessor; guidance needs AttnProcessor2_0"):
        guide_attention(stock.unet)
    assert not any(isinstance(each, GuidedAttention) for each in stock.unet.attn_processors.values())


def test_fused_projections_are_refused(stock: StableDiffusionPipeline) -> None:
    stock.unet.fuse_qkv_projections()
    with pytest.raises(AttentionError, match="FusedAttnProcessor2_0"):
        guide_attention(stock.unet)


def test_modules_of_a_kind_not_handled_are_refused_by_name(stock: StableDiffusionPipeline) -> None:
    name = cross_attention_modules(stock.unet)[0]
    stock.unet.get_submodule(name).residual_connection = True
    with pytest.raises(AttentionError, match=f"{name} has a residual connection"):
        guide_attention(stock.unet)


def test_a_network_without_cross_attention_is_refused() -> None:
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(32,),
        down_block_types=("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",),
    )
    with pytest.raises(AttentionError, match="UNet2DModel has no cross-attention"):
        cross_attention_modules(unet)


def test_a_cross_attention_mask_is_refused() -> None:
    patches, text = states(1)
    change = perturbation([RowChange(1.0, after_first(TOKENS))], device=CPU, dtype=torch.float64)
    with pytest.raises(AttentionError, match=r"down\.0\.attn2.* mask"):
        GuidedAttention("down.0.attn2")(
            cross_attention(), patches, text, attention_mask=torch.zeros(1, 1, TOKENS), perturbation=change
        )
