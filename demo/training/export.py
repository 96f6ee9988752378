"""Export the checkpoint: a diffusers pipeline, and the CLIP for transformers and open_clip."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPTextModel

from evenhand.demo import scenes
from evenhand.demo.training import clip as clip_training
from evenhand.demo.training.autoencoder import load_autoencoder
from evenhand.demo.training.data import SIZE
from evenhand.demo.training.denoiser import new_scheduler
from evenhand.demo.training.tokenizer import load_tokenizer


def export(work: Path, output: Path) -> None:
    """Write all parts to ``output`` in float16; the model card and other files there are kept."""
    tokenizer = load_tokenizer(work / "tokenizer")
    model = CLIPModel.from_pretrained(work / "clip_fitted")  # nosec B615  # a folder of the training
    pipeline = StableDiffusionPipeline(
        vae=load_autoencoder(work / "vae_tuned"),
        text_encoder=_text_encoder(model),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel.from_pretrained(work / "unet"),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in ("vae", "text_encoder", "unet"):
        getattr(pipeline, part).half()
    pipeline.save_pretrained(output, safe_serialization=True)
    (output / "tokenizer" / "words.txt").write_text("\n".join(scenes.vocabulary()) + "\n")
    folder = output / "clip"
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for config in (folder / "config.json", output / "text_encoder" / "config.json"):
        declare_float32(config)
    save_file(open_clip_state(model), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_config(len(tokenizer)), indent=2) + "\n")


def declare_float32(config: Path) -> None:
    """Declare float32 in a transformers configuration; the weights stay float16.

    Without a ``dtype`` argument diffusers loads its parts in float32, and transformers in the declared dtype: the parts
    of the pipeline would otherwise differ.
    """
    text = re.sub(r'"dtype": "float16"', '"dtype": "float32"', config.read_text())
    config.write_text(text)


def _text_encoder(model: CLIPModel) -> CLIPTextModel:
    encoder = CLIPTextModel(model.config.text_config)
    state = model.text_model.state_dict()
    target = encoder.state_dict()
    prefix = "text_model." if any(name.startswith("text_model.") for name in target) else ""
    encoder.load_state_dict({prefix + name: value for name, value in state.items()})
    return encoder


def open_clip_config(vocabulary: int) -> dict[str, object]:
    """Describe the same architecture for open_clip."""
    tower = {"width": clip_training.WIDTH, "layers": clip_training.LAYERS}
    head = clip_training.WIDTH // clip_training.HEADS
    return {
        "model_cfg": {
            "embed_dim": clip_training.WIDTH,
            "quick_gelu": True,
            "vision_cfg": {"image_size": SIZE, "patch_size": 8, "head_width": head, **tower},
            "text_cfg": {
                "context_length": 77,
                "vocab_size": vocabulary,
                "heads": clip_training.HEADS,
                "hf_tokenizer_name": "local",
                "tokenizer_kwargs": {"clean": "whitespace"},
                **tower,
            },
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }


def _layer(state: dict[str, torch.Tensor], source: str, target: str) -> dict[str, torch.Tensor]:
    attention = f"{source}.self_attn"
    layer_state = {}
    for kind in ("weight", "bias"):
        parts = [state[f"{attention}.{name}_proj.{kind}"] for name in "qkv"]
        layer_state[f"{target}.attn.in_proj_{kind}"] = torch.cat(parts)
        layer_state[f"{target}.attn.out_proj.{kind}"] = state[f"{attention}.out_proj.{kind}"]
        for old_name, new_name in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2")):
            layer_state[f"{target}.{new_name}.{kind}"] = state[f"{source}.{old_name}.{kind}"]
        for old_name, new_name in (("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
            layer_state[f"{target}.{new_name}.{kind}"] = state[f"{source}.{old_name}.{kind}"]
    return layer_state


def open_clip_state(model: CLIPModel) -> dict[str, torch.Tensor]:
    """Rename the weights for open_clip, with packed attention projections and transposed projections."""
    state = model.state_dict()
    vision, text = "vision_model", "text_model"
    clip_state = {
        "logit_scale": state["logit_scale"],
        "positional_embedding": state[f"{text}.embeddings.position_embedding.weight"],
        "token_embedding.weight": state[f"{text}.embeddings.token_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "visual.class_embedding": state[f"{vision}.embeddings.class_embedding"],
        "visual.positional_embedding": state[f"{vision}.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state[f"{vision}.embeddings.patch_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
    }
    norms = (
        (f"{text}.final_layer_norm", "ln_final"),
        (f"{vision}.pre_layrnorm", "visual.ln_pre"),  # transformers' spelling
        (f"{vision}.post_layernorm", "visual.ln_post"),
    )
    for old_name, new_name in norms:
        for kind in ("weight", "bias"):
            clip_state[f"{new_name}.{kind}"] = state[f"{old_name}.{kind}"]
    for i in range(clip_training.LAYERS):
        clip_state |= _layer(state, f"{text}.encoder.layers.{i}", f"transformer.resblocks.{i}")
        clip_state |= _layer(state, f"{vision}.encoder.layers.{i}", f"visual.transformer.resblocks.{i}")
    return {name: value.contiguous().clone() for name, value in clip_state.items()}
