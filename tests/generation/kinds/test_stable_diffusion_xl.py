"""Stable Diffusion XL against diffusers' own pipeline, against the slow reference, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from evenhand.generation.attention import GuidedAttention, cross_attention_modules, guide_attention
from evenhand.generation.decoding import decode_latents
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree
from evenhand.generation.kinds.registry import kind_of
from evenhand.generation.kinds.stable_diffusion_xl import StableDiffusionXL
from evenhand.generation.methods.perturbed_attention import PerturbedAttention
from evenhand.generation.reading import semantic_maps_of
from evenhand.generation.text import (
    PromptTooLong,
    PromptTruncated,
    TokensDiffer,
    check_prompts,
    encode_texts,
    own_tokens,
    refuse_differing_tokens,
    refuse_long_prompts,
    words_beyond_limit,
)
from evenhand.generation.trajectory import generate
from tests.helpers.compared_arms import ARMS, tokens_in_call_order
from tests.helpers.reference import reference_latents
from tests.helpers.runs import CFG, PROMPTS, SEEDS, STEPS, first_noise, run, use_scheduler
from tests.helpers.tiny_models import tiny_xl_pipeline

# The network of stabilityai/stable-diffusion-xl-base-1.0, where it differs from UNet2DConditionModel's defaults.
XL_NETWORK: dict[str, Any] = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "cross_attention_dim": 2048,
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


@pytest.fixture(scope="module")
def xl64() -> StableDiffusionXLPipeline:
    return tiny_xl_pipeline(torch.float64)


# ------------------------------------------------------------------------------ the stock pipeline


@pytest.mark.parametrize("scheduler", ["ddim", "dpm_solver", "euler", "pndm"])
@pytest.mark.parametrize("negative", ["", "a cat"])
def test_classifier_free_guidance_is_the_stock_pipelines_bit_for_bit(
    xl: StableDiffusionXLPipeline, scheduler: str, negative: str
) -> None:
    """The empty prompt is what diffusers takes where no negative prompt is given: zeros."""
    stock = tiny_xl_pipeline()
    use_scheduler(stock, scheduler)
    settings: dict = {"latents": first_noise(SEEDS), "num_inference_steps": STEPS, "guidance_scale": 8.5}
    if negative:
        settings["negative_prompt"] = [negative] * 2
    latents = stock(PROMPTS, output_type="latent", **settings).images
    pictures = stock(PROMPTS, output_type="pil", **settings).images
    result = run(xl, {"cfg": ClassifierFree(7.5, negative)}, scheduler=scheduler)
    assert result.latents is not None
    assert np.array_equal(result.latents["cfg"], latents.numpy())
    assert np.array_equal(result.images["cfg"], np.stack([np.asarray(picture) for picture in pictures]))


def test_an_encoded_empty_prompt_is_the_stock_pipelines_where_the_checkpoint_asks_for_it() -> None:
    zeros, stock, ours = (tiny_xl_pipeline(force_zeros_for_empty_prompt=each) for each in (True, False, False))
    start = first_noise(SEEDS)
    expected = stock(PROMPTS, latents=start, num_inference_steps=STEPS, guidance_scale=8.5, output_type="latent").images
    result, other = (run(each, {"cfg": CFG}, scheduler="euler") for each in (ours, zeros))
    assert result.latents is not None
    assert other.latents is not None
    assert np.array_equal(result.latents["cfg"], expected.numpy())
    assert not np.array_equal(result.latents["cfg"], other.latents["cfg"])
    assert result.provenance["empty_prompt"] == "encoded"
    assert other.provenance["empty_prompt"] == "zeros"


def test_another_size_reaches_the_added_conditions(xl: StableDiffusionXLPipeline) -> None:
    stock = tiny_xl_pipeline()
    start = torch.randn((1, 4, 8, 12), generator=torch.Generator().manual_seed(7))
    expected = stock(
        PROMPTS[:1],
        height=16,
        width=24,
        latents=start,
        num_inference_steps=STEPS,
        guidance_scale=8.5,
        output_type="latent",
    ).images
    arms = {"cfg": CFG}
    options: dict = {"steps": STEPS, "scheduler": "euler", "batch_size": 1, "return_latents": True}
    result = generate(xl, PROMPTS[:1], [7], arms, height=16, width=24, **options)
    assert result.latents is not None
    assert np.array_equal(result.latents["cfg"], expected.numpy())


# ------------------------------------------------------------------------------ the slow reference


@pytest.mark.parametrize("scheduler", ["ddim", "euler"])
def test_every_arm_equals_the_reference_in_double_precision(xl64: StableDiffusionXLPipeline, scheduler: str) -> None:
    result = run(xl64, {name: ours for name, (ours, _) in ARMS.items()}, scheduler=scheduler, semantic_maps=True)
    assert result.latents is not None
    for name, (_, theirs) in ARMS.items():
        expected, chosen = reference_latents(xl64, PROMPTS[1], SEEDS[1], theirs, steps=STEPS, scheduler=scheduler)
        np.testing.assert_allclose(result.latents[name][1], expected.numpy(), rtol=0, atol=1e-7, err_msg=name)
        ours_chose = tokens_in_call_order(result, name, 1)
        assert len(ours_chose) == len(chosen)
        assert all(np.array_equal(one, other) for one, other in zip(ours_chose, chosen, strict=True)), name


def test_a_of_minus_one_is_the_unguided_conditional_bit_for_bit(xl: StableDiffusionXLPipeline) -> None:
    """Four pictures without guidance have the network call's shape of two with their ε̄; texts come in calls of two."""
    stock = tiny_xl_pipeline()
    texts = encode_texts(stock, PROMPTS, 2)
    latents = stock(
        prompt_embeds=texts.states.repeat(2, 1, 1),
        pooled_prompt_embeds=texts.added["text_embeds"].repeat(2, 1),
        guidance_scale=1.0,
        latents=first_noise(SEEDS * 2),
        num_inference_steps=STEPS,
        output_type="latent",
    ).images
    result = run(xl, {"same": SegmentationFree(-1.0, switch_after=0)}, scheduler="euler")
    assert result.latents is not None
    assert np.array_equal(result.latents["same"], latents[:2].numpy())


@pytest.mark.parametrize("scheduler", ["euler", "ddpm"])
def test_a_picture_is_the_same_alone_and_in_any_company(xl: StableDiffusionXLPipeline, scheduler: str) -> None:
    arms: dict[str, Guidance] = {
        "cfg": CFG,
        "a5": SegmentationFree(5.0, switch_after=1, opening=ClassifierFree(3.0, "a star")),
        "layers": PerturbedAttention(3.0, switch_after=1),
    }
    options: dict = {"steps": STEPS, "batch_size": 3, "scheduler": scheduler, "return_latents": True}
    together = generate(xl, ["a dog", PROMPTS[0], "the star"], [5, SEEDS[0], 6], arms, **options)
    assert together.latents is not None
    for name, guidance in arms.items():
        alone = generate(xl, PROMPTS[:1], SEEDS[:1], {name: guidance}, **options)
        assert alone.latents is not None
        assert np.array_equal(alone.latents[name][0], together.latents[name][1])
        assert np.array_equal(alone.images[name][0], together.images[name][1])


def test_a_finished_picture_is_read_with_its_own_added_conditions(xl: StableDiffusionXLPipeline) -> None:
    calls: list[dict[str, Any]] = []
    hook = xl.unet.register_forward_pre_hook(lambda _, args, kwargs: calls.append(kwargs), with_kwargs=True)
    try:
        maps = semantic_maps_of(xl, np.zeros((2, 4, 8, 12), np.float32), PROMPTS, SEEDS, steps=4, iterations=[3])
    finally:
        hook.remove()
    expected = encode_texts(xl, PROMPTS, 2, (16, 24))
    assert torch.equal(calls[0]["added_cond_kwargs"]["time_ids"], torch.tensor([[16.0, 24, 0, 0, 16, 24]] * 2))
    assert torch.equal(calls[0]["added_cond_kwargs"]["text_embeds"], expected.added["text_embeds"])
    assert set(maps[3]) == set(cross_attention_modules(xl.unet))
    assert {grid.shape for grid in maps[3].values()} == {(2, 1, 4, 6)}


# ------------------------------------------------------------------------------ the real network


def test_all_seventy_cross_attention_modules_are_guided() -> None:
    """Of the real configuration, without its weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**XL_NETWORK)
    assert sum(parameter.numel() for parameter in unet.parameters()) == 2_567_463_684
    modules = cross_attention_modules(unet)
    assert len(modules) == 70
    guide_attention(unet)
    processors = unet.attn_processors
    assert len(processors) == 140
    assert all(isinstance(each, GuidedAttention) for each in processors.values())
    assert {f"{name}.processor" for name in modules} <= set(processors)


# ------------------------------------------------------------------------------ texts


def test_the_empty_prompt_is_zeros_beside_texts_that_are_not(xl: StableDiffusionXLPipeline) -> None:
    conditions = encode_texts(xl, ["a cat", "", "a dog"], 2)
    assert conditions.states.shape == (3, 77, 56)
    assert conditions.added["text_embeds"].shape == (3, 16)
    for tensor in (conditions.states, conditions.added["text_embeds"]):
        assert [bool(row.any()) for row in tensor] == [True, False, True]
    assert conditions.added["time_ids"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3


EXCLAMATIONS = ["a dog!", "a dog!!", "a cat ! ! and a dog"]


def test_both_tokenizers_count_a_prompts_own_tokens_alike_but_for_exclamation_marks(
    xl: StableDiffusionXLPipeline,
) -> None:
    """tokenizer_2 pads with "!" and so takes each as a token, where tokenizer has one for "!!"."""
    assert own_tokens(xl, "a dog").nonzero().flatten().tolist() == [1, 2]
    refuse_differing_tokens(xl, ["a dog", *EXCLAMATIONS[::2]])
    with pytest.raises(TokensDiffer, match=r"tokenizer and tokenizer_2 divide .*: prompt 1 'a dog!!'$"):
        refuse_differing_tokens(xl, EXCLAMATIONS)
    with pytest.raises(TokensDiffer, match="and 2 more"):
        refuse_differing_tokens(xl, ["wow!!"] * 5)


def test_a_prompt_whose_own_tokens_differ_is_refused_only_where_they_are_asked_for(
    xl: StableDiffusionXLPipeline,
) -> None:
    options: dict = {"steps": 1, "batch_size": 1}
    plain = SegmentationFree(switch_after=0)
    assert generate(xl, ["a dog!!"], [1], {"a": plain}, **options).evaluations == 2
    with pytest.raises(TokensDiffer, match="prompt 0 'a dog!!'"):
        generate(xl, ["a dog!!"], [1], {"a": SegmentationFree(switch_after=0, tokens="prompt")}, **options)


def test_prompts_that_one_tokenizer_would_cut_are_refused(xl: StableDiffusionXLPipeline) -> None:
    full = " ".join(["dog"] * 74)
    refuse_long_prompts(xl, [f"{full} cat", f"{full} !"])
    assert words_beyond_limit(xl, f"{full} !!") == "!"  # 75 tokens for the first tokenizer, 76 for the second
    with pytest.raises(PromptTooLong, match=r"reads 77 tokens at most: prompt 1 would lose '!', prompt 2 would lose"):
        refuse_long_prompts(xl, ["a cat", f"{full} !!", f"{full} red star"])
    with pytest.warns(PromptTruncated, match="prompt 0 .*'!'"):
        check_prompts(xl, [f"{full} !!"])


# ------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("force_upcast", [True, False])
def test_a_half_precision_decoder_computes_in_single_where_its_configuration_says_so(force_upcast: bool) -> None:
    pipeline = tiny_xl_pipeline(torch.float16)
    pipeline.vae.register_to_config(force_upcast=force_upcast)
    weights = {name: tensor.clone() for name, tensor in pipeline.vae.state_dict().items()}
    latents = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(2)).half()
    seen: list[torch.dtype] = []
    hook = pipeline.vae.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].dtype))
    with torch.no_grad():
        pictures = decode_latents(pipeline, latents, 2)
    hook.remove()
    assert set(seen) == {torch.float32 if force_upcast else torch.float16}
    assert pipeline.vae.dtype == torch.float16
    assert all(torch.equal(tensor, weights[name]) for name, tensor in pipeline.vae.state_dict().items())
    reference = tiny_xl_pipeline()
    reference.vae.load_state_dict(weights)  # the float16 weights in float32
    with torch.no_grad():
        expected = decode_latents(reference, latents.float(), 2)
    assert np.abs(pictures.astype(int) - expected).max() <= (0 if force_upcast else 2)


def test_a_decoder_that_shifts_each_channel_is_read_as_the_stock_pipeline_reads_it() -> None:
    pipelines = [tiny_xl_pipeline() for _ in range(2)]
    for each in pipelines:
        each.vae.register_to_config(latents_mean=[-1.6, 2.3, 2.0, -2.0], latents_std=[8.4, 5.9, 4.8, 5.2])
    stock, ours = pipelines
    settings: dict = {"latents": first_noise(SEEDS), "num_inference_steps": 2, "guidance_scale": 8.5}
    pictures = stock(PROMPTS, output_type="pil", **settings).images
    result = run(ours, {"cfg": CFG}, steps=2, scheduler="euler")
    assert np.array_equal(result.images["cfg"], np.stack([np.asarray(picture) for picture in pictures]))


# ------------------------------------------------------------------------------ what is recorded and refused


def test_provenance_names_the_empty_prompt_the_added_conditions_and_the_decoders_precision(
    xl: StableDiffusionXLPipeline,
) -> None:
    result = run(xl, {"cfg": CFG}, steps=1, scheduler="euler", height=16, width=24)
    provenance = json.loads(json.dumps(result.provenance))
    assert provenance == result.provenance
    assert provenance["empty_prompt"] == "zeros"
    assert provenance["added_conditions"] == {
        "original_size": [16, 24],
        "crop": [0, 0],
        "target_size": [16, 24],
    }
    assert provenance["vae_dtype"] == "float32"
    config = provenance["scheduler"]["config"]
    assert (config["timestep_spacing"], config["steps_offset"], config["beta_end"]) == ("leading", 1, 0.012)
    half = tiny_xl_pipeline(torch.float16)
    assert kind_of(half).provenance((16, 16))["vae_dtype"] == "float32"
    half.vae.register_to_config(force_upcast=False)
    assert kind_of(half).provenance((16, 16))["vae_dtype"] == "float16"


def test_parts_that_do_not_fit_together_are_named() -> None:
    pipeline = tiny_xl_pipeline()
    assert StableDiffusionXL(pipeline).misfit() is None
    pipeline.tokenizer_2.model_max_length = 64
    assert "its tokenizers read 77 and 64 tokens" in str(StableDiffusionXL(pipeline).misfit())
    pipeline.tokenizer_2.model_max_length = 77
    pipeline.unet.register_to_config(projection_class_embeddings_input_dim=56)  # five numbers, as a refiner reads
    assert "reads added conditions of width 56, and gets 64" in str(StableDiffusionXL(pipeline).misfit())
    pipeline.unet.register_to_config(projection_class_embeddings_input_dim=64, cross_attention_dim=32)
    assert "reads texts of width 32, its text encoder gives 56" in str(StableDiffusionXL(pipeline).misfit())
