"""Loading a Stable Diffusion checkpoint, from a folder or a hub id, and naming its exact content."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError

from evenhand.errors import InputError
from evenhand.generation.attention import AttentionError, cross_attention_modules

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
CLASSES = ("StableDiffusionPipeline", "SegmentationFreeStableDiffusionPipeline")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}

# Settings of a UNet that asks for more than a text, and what it then asks for.
_FURTHER_CONDITIONS = {
    "addition_embed_type": "added conditions, as Stable Diffusion XL has them",
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "dual_cross_attention": "two texts for each cross-attention",
}
_TEXT_PROJECTIONS = (None, "text_proj")

_LOADING_ERRORS = (OSError, ValueError, TypeError, RuntimeError, AttributeError, KeyError, SafetensorError)


class CheckpointError(InputError):
    """A checkpoint that cannot be used; the message names it and what is wrong or missing."""


class DeviceError(InputError):
    """A device or dtype that is not there; the message names it."""


def load_pipeline(
    name_or_path: str | Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype | str | None = None,
    channels_last: bool = False,
    compiled: bool = False,
) -> StableDiffusionPipeline:
    """A Stable Diffusion pipeline on ``device``, without its safety checker.

    name_or_path: a diffusers folder, or a hub id ``owner/name`` where there is no such folder.
    dtype: a torch dtype or its name; float16 on a GPU and float32 on a CPU by default.
    channels_last: convolutions' memory layout in UNet and VAE; faster on a GPU with tensor cores.
    compiled: compile UNet and VAE decoder, which takes minutes at the first call of each shape and pays on a GPU in
        long runs. A compiled UNet runs one graph for all perturbed calls, whatever their arms, and one for plain calls.
    The last two change a picture's last bits; they stand in its provenance.
    Raises CheckpointError (not a checkpoint, parts missing, another class, no cross-attention) and DeviceError.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    declared = _check_declaration(str(name_or_path))
    without = {"safety_checker": None, "feature_extractor": None}
    try:
        there = Path(name_or_path).is_dir()
        folder = name_or_path if there else StableDiffusionPipeline.download(str(name_or_path), **without)
        pipeline: StableDiffusionPipeline = StableDiffusionPipeline.from_pretrained(
            str(folder),
            text_encoder=_text_encoder(str(name_or_path), Path(folder), declared, dtype),
            dtype=dtype,
            requires_safety_checker=False,
            **without,
        )
    except CheckpointError:
        raise
    except _LOADING_ERRORS as error:
        raise CheckpointError(f"checkpoint {name_or_path} cannot be loaded: {error}") from error
    _check_weights(str(name_or_path), pipeline)
    _check_network(str(name_or_path), pipeline)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    if channels_last:
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        pipeline.unet.compile(fullgraph=True)
        pipeline.vae.decoder.compile(fullgraph=True)
    return pipeline


def checkpoint_fingerprint(name_or_path: str | Path) -> str:
    """The exact content of a checkpoint.

    For a folder SHA-256 (64 hex digits) over the sorted lines ``<sha256 of the file> <relative name>`` of its files,
    hidden ones left out. For a hub id the commit (40 hex digits) that is in the local cache and that loading uses.
    Raises CheckpointError where there is neither.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        return _folder_fingerprint(folder)
    name = str(name_or_path)
    cached = try_to_load_from_cache(name, "model_index.json") if _HUB_ID.fullmatch(name) else None
    if not isinstance(cached, str):
        raise CheckpointError(f"checkpoint {name} is neither a folder nor a hub id in the local cache")
    return Path(cached).parent.name  # …/snapshots/<commit>/model_index.json


def _folder_fingerprint(folder: Path) -> str:
    lines = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            with path.open("rb") as file:
                lines.append((relative.as_posix(), hashlib.file_digest(file, "sha256").hexdigest()))
    if not lines:
        raise CheckpointError(f"checkpoint folder {folder} holds no files")
    return hashlib.sha256("".join(f"{digest} {name}\n" for name, digest in sorted(lines)).encode()).hexdigest()


def _device(device: str | torch.device) -> torch.device:
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"device {device!r} is not one that torch knows") from error
    if wanted.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (wanted.index or 0) >= present:
            raise DeviceError(f"device {str(device)!r} was asked for, but this machine offers {present} CUDA GPUs")
    try:
        torch.ones(1, device=wanted).item()
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        raise DeviceError(f"device {str(device)!r} cannot compute on this machine: {error}") from error
    return wanted


def _dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    wanted = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted not in _DTYPES.values():
        raise DeviceError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}")
    assert isinstance(wanted, torch.dtype)
    return wanted


def _text_encoder(name: str, folder: Path, declared: dict[str, Any], dtype: torch.dtype) -> Any:
    """The text encoder, loaded apart: transformers fills a tensor that it does not find at random, and only says so."""
    library, kind = declared.get("text_encoder") or (None, None)
    if kind is None:
        raise CheckpointError(f"checkpoint {name} has no text_encoder")
    if library != "transformers" or not hasattr(transformers, kind):
        raise CheckpointError(f"checkpoint {name}: its text_encoder is {library}.{kind}, which transformers has not")
    encoder, found = getattr(transformers, kind).from_pretrained(
        folder / "text_encoder", dtype=dtype, output_loading_info=True
    )
    if found["missing_keys"]:
        raise _lacking(name, "text_encoder", sorted(found["missing_keys"]))
    return encoder


def _lacking(name: str, part: str, tensors: list[str]) -> CheckpointError:
    return CheckpointError(f"checkpoint {name}: the weights of its {part} lack {', '.join(tensors)}")


def _check_declaration(name: str) -> dict[str, Any]:
    """The index, after the cheap failures: is it there, what does it call itself, does it have its parts."""
    if not name:
        raise CheckpointError("a checkpoint must be named, and the name is empty")
    if Path(name).is_file():
        raise CheckpointError(f"checkpoint {name} is a file, not a folder")
    if Path(name).is_dir():
        declared = _read_index(Path(name))
    elif _HUB_ID.fullmatch(name) and not name.startswith("."):
        declared = _hub_index(name)
    else:
        raise CheckpointError(f"checkpoint folder {name} does not exist")
    if declared.get("_class_name") not in CLASSES:
        raise CheckpointError(f"checkpoint {name} is a {declared.get('_class_name')}, not a {CLASSES[0]}")
    return declared


def _read_index(folder: Path) -> dict[str, Any]:
    index = folder / "model_index.json"
    if not index.is_file():
        raise CheckpointError(f"checkpoint folder {folder} has no model_index.json: it is no diffusers checkpoint")
    try:
        declared: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"checkpoint file {index} is not JSON: {error}") from error
    if not isinstance(declared, dict):
        raise CheckpointError(f"checkpoint file {index} holds no object")
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing and declared.get("_class_name") in CLASSES:
        raise CheckpointError(f"checkpoint folder {folder} lacks {', '.join(f'{part}/' for part in missing)}")
    return declared


def _hub_index(name: str) -> dict[str, Any]:
    try:
        declared: dict[str, Any] = DiffusionPipeline.load_config(name)
    except OSError as error:
        raise CheckpointError(f"checkpoint {name} is no folder here, and the hub did not give it: {error}") from error
    return declared


def _check_weights(name: str, pipeline: StableDiffusionPipeline) -> None:
    for part in PARTS:
        if getattr(pipeline, part) is None:
            raise CheckpointError(f"checkpoint {name} has no {part}")
    for part in ("unet", "vae"):  # diffusers leaves a tensor that it does not find without storage
        empty = [key for key, tensor in getattr(pipeline, part).state_dict().items() if tensor.is_meta]
        if empty:
            raise _lacking(name, part, empty)


def _check_network(name: str, pipeline: StableDiffusionPipeline) -> None:
    unet, vae = pipeline.unet, pipeline.vae
    try:
        cross_attention_modules(unet)
    except AttentionError as error:
        raise CheckpointError(f"checkpoint {name}: {error}") from error
    for setting, condition in _FURTHER_CONDITIONS.items():
        if value := unet.config.get(setting):
            raise CheckpointError(
                f"checkpoint {name} cannot be used: its network ({setting}={value!r}) needs {condition} beside the text"
            )
    if (projection := unet.config.get("encoder_hid_dim_type")) not in _TEXT_PROJECTIONS:
        raise CheckpointError(f"checkpoint {name} cannot be used: its network reads {projection!r}, not a text alone")
    if unet.config.in_channels != vae.config.latent_channels:
        raise CheckpointError(
            f"checkpoint {name} is no text-to-image model: its network takes {unet.config.in_channels} channels,"
            f" its latents have {vae.config.latent_channels}"
        )
    widths, given = unet.config.cross_attention_dim, pipeline.text_encoder.config.hidden_size
    if unet.config.encoder_hid_dim is None and {given} != set(widths if isinstance(widths, list | tuple) else [widths]):
        raise CheckpointError(
            f"checkpoint {name} does not fit together: its network reads texts of width {widths},"
            f" its text encoder gives {given}"
        )
    if unet.config.time_cond_proj_dim is not None:
        raise CheckpointError(f"checkpoint {name} has its guidance distilled in, and cannot be guided again")
