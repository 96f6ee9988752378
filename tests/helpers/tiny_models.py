"""A tiny Stable Diffusion and a tiny XL with random weights, made from nothing: 8×8 latents, 16×16 pictures."""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = (
    *("a", "red", "blue", "green", "circle", "square", "star", "above", "below", "left", "of", "and", "the", "on"),
    *("cat", "dog"),
)
CONTEXT = 77


def tiny_tokenizer(*, exclamations: bool = False, pad: str | None = None) -> CLIPTokenizer:
    """Letters, letters that end a word, and one merged token for every word of WORDS.

    exclamations: "!" is a token and so is "!!". pad: the token that fills up; the end of the text by default.
    """
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        while len(pieces := _pieces(word, merges)) > 1:
            merges.append((pieces[0], pieces[1]))
    if exclamations:
        letters = ["!", *letters]
        merges.append(("!", "!</w>"))
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    padding = {"pad_token": pad} if pad else {}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT, **padding)


def _pieces(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: the earliest merge that fits, again and again."""
    pieces = [*word[:-1], f"{word[-1]}</w>"]
    while fitting := [merges.index(pair) for pair in pairwise(pieces) if pair in merges]:
        left, right = merges[min(fitting)]
        at = next(i for i, pair in enumerate(pairwise(pieces)) if pair == (left, right))
        pieces[at : at + 2] = [left + right]
    return pieces


def tiny_pipeline(
    dtype: torch.dtype = torch.float32, context: int = CONTEXT, prediction_type: str = "epsilon"
) -> StableDiffusionPipeline:
    """The pipeline; cross-attention's projections are enlarged so that patches choose different tokens."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=context,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    _enlarge_cross_attention(unet)
    vae = _tiny_vae()
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )
    pipeline = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(dtype=dtype)


def tiny_xl_pipeline(
    dtype: torch.dtype = torch.float32, force_zeros_for_empty_prompt: bool = True
) -> StableDiffusionXLPipeline:
    """Stable Diffusion XL's parts: two text encoders of different width, two tokenizers that pad differently, Euler.

    As in the XL checkpoints the second tokenizer pads with "!", which it then takes as a token wherever it stands.
    """
    torch.manual_seed(0)
    tokenizers = tiny_tokenizer(exclamations=True), tiny_tokenizer(exclamations=True, pad="!")
    encoders = [
        kind(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=width,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=CONTEXT,
                projection_dim=16,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        for kind, width, tokenizer in zip(
            (CLIPTextModel, CLIPTextModelWithProjection), (32, 24), tokenizers, strict=True
        )
    ]
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        cross_attention_dim=32 + 24,
        attention_head_dim=(2, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
        norm_num_groups=8,
    )
    _enlarge_cross_attention(unet)
    vae = _tiny_vae(scaling_factor=0.13025, force_upcast=True)
    pipeline = StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=encoders[0].eval(),
        text_encoder_2=encoders[1].eval(),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            steps_offset=1,
            timestep_spacing="leading",
        ),
        force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(dtype=dtype)


def _enlarge_cross_attention(unet: UNet2DConditionModel) -> None:
    for name, parameter in unet.named_parameters():
        if "attn2.to_q" in name or "attn2.to_k" in name:
            parameter.data *= 3.0


def _tiny_vae(**settings: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        **settings,
    )
