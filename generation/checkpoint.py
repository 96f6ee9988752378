"""Load a Stable Diffusion checkpoint from a folder or a hub id, and fingerprint its content."""

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
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError

from evenhand.errors import InputError, is_machine_fault
from evenhand.generation.attention import AttentionError, cross_attention_modules

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
CLASSES = ("StableDiffusionPipeline", "SegmentationFreeStableDiffusionPipeline")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}

# Settings of a UNet that needs inputs beside the text, and the name of each input in the error message.
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
    """A device or dtype that this machine or torch does not offer; the message names it."""


def load_pipeline(
    name_or_path: str | Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype | str | None = None,
    channels_last: bool = False,
    compiled: bool = False,
) -> StableDiffusionPipeline:
    """Load a Stable Diffusion pipeline on ``device``, without its safety checker.

    name_or_path: a diffusers folder, or a hub id ``owner/name`` where there is no such folder.
    dtype: a torch dtype or its name; float16 on a GPU and float32 on a CPU by default.
    channels_last: convolutions' memory layout in UNet and VAE; faster on a GPU with tensor cores.
    compiled: compile UNet and VAE decoder, which takes minutes at the first call of each shape and pays on a GPU in
        long runs. A compiled UNet runs one graph for all perturbed calls, whatever their arms, and one for plain calls.
    ``channels_last`` and ``compiled`` change a picture's last bits; both are recorded in its provenance.
    Raises CheckpointError (not a checkpoint, parts missing, another class, no cross-attention) and DeviceError.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    model_index = _check_declaration(str(name_or_path))
    omitted_parts = {"safety_checker": None, "feature_extractor": None}
    try:
        is_folder = Path(name_or_path).is_dir()
        folder = name_or_path if is_folder else StableDiffusionPipeline.download(str(name_or_path), **omitted_parts)
        pipeline: StableDiffusionPipeline = StableDiffusionPipeline.from_pretrained(
            str(folder),
            text_encoder=_text_encoder(str(name_or_path), Path(folder), model_index, dtype),
            dtype=dtype,
            requires_safety_checker=False,
            **omitted_parts,
        )
    except CheckpointError:
        raise
    except _LOADING_ERRORS as error:
        if is_machine_fault(error):
            raise
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
    """Return a fingerprint of a checkpoint's exact content.

    For a folder SHA-256 (64 hex digits) over the sorted lines ``<sha256 of the file> <relative name>`` of its files,
    hidden ones left out. For a hub id the commit (40 hex digits) that is in the local cache and that loading uses.
    Raises CheckpointError where there is neither.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        return _folder_fingerprint(folder)
    name = str(name_or_path)
    try:
        index_file = try_to_load_from_cache(name, "model_index.json") if _HUB_ID.fullmatch(name) else None
    except HFValidationError as error:
        raise CheckpointError(f"checkpoint {name} is neither a folder nor a hub id: {error}") from error
    if not isinstance(index_file, str):
        raise CheckpointError(f"checkpoint {name} is neither a folder nor a hub id in the local cache")
    return Path(index_file).parent.name  # …/snapshots/<commit>/model_index.json


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
        torch_device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"device {device!r} is not one that torch knows") from error
    if torch_device.type == "cuda":
        device_count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (torch_device.index or 0) >= device_count:
            raise DeviceError(f"device {str(device)!r} was asked for, but this machine offers {device_count} CUDA GPUs")
    try:
        torch.ones(1, device=torch_device).item()
    except (RuntimeError, AssertionError) as error:  # torch raises AssertionError where it was built without the device
        raise DeviceError(f"device {str(device)!r} cannot compute on this machine: {error}") from error
    return torch_device


def _dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    torch_dtype = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if torch_dtype not in _DTYPES.values():
        raise DeviceError(f"dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}")
    assert isinstance(torch_dtype, torch.dtype)
    return torch_dtype


def _text_encoder(name: str, folder: Path, model_index: dict[str, Any], dtype: torch.dtype) -> Any:
    """Load the text encoder by itself: transformers gives a missing tensor random values and only reports it."""
    library, kind = model_index.get("text_encoder") or (None, None)
    if kind is None:
        raise CheckpointError(f"checkpoint {name} has no text_encoder")
    if library != "transformers" or not hasattr(transformers, kind):
        raise CheckpointError(f"checkpoint {name}: its text_encoder is {library}.{kind}, which transformers has not")
    encoder, loading_info = getattr(transformers, kind).from_pretrained(
        folder / "text_encoder", dtype=dtype, output_loading_info=True
    )
    if loading_info["missing_keys"]:
        raise _lacking(name, "text_encoder", sorted(loading_info["missing_keys"]))
    return encoder


def _lacking(name: str, part: str, tensors: list[str]) -> CheckpointError:
    return CheckpointError(f"checkpoint {name}: the weights of its {part} lack {', '.join(tensors)}")


def _check_declaration(name: str) -> dict[str, Any]:
    """Return the model index, after checking that the checkpoint exists and has the right class and all parts."""
    if not name:
        raise CheckpointError("a checkpoint must be named, and the name is empty")
    if Path(name).is_file():
        raise CheckpointError(f"checkpoint {name} is a file, not a folder")
    if Path(name).is_dir():
        model_index = _read_index(Path(name))
    elif _HUB_ID.fullmatch(name) and not name.startswith("."):
        model_index = _hub_index(name)
    else:
        raise CheckpointError(f"checkpoint folder {name} does not exist")
    if model_index.get("_class_name") not in CLASSES:
        raise CheckpointError(f"checkpoint {name} is a {model_index.get('_class_name')}, not a {CLASSES[0]}")
    return model_index


def _read_index(folder: Path) -> dict[str, Any]:
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise CheckpointError(f"checkpoint folder {folder} has no model_index.json: it is no diffusers checkpoint")
    try:
        model_index: dict[str, Any] = json.loads(index_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"checkpoint file {index_file} is not JSON: {error}") from error
    if not isinstance(model_index, dict):
        raise CheckpointError(f"checkpoint file {index_file} holds no object")
    missing_parts = [part for part in PARTS if not (folder / part).is_dir()]
    if missing_parts and model_index.get("_class_name") in CLASSES:
        raise CheckpointError(f"checkpoint folder {folder} lacks {', '.join(f'{part}/' for part in missing_parts)}")
    return model_index


def _hub_index(name: str) -> dict[str, Any]:
    try:
        model_index: dict[str, Any] = DiffusionPipeline.load_config(name)
    except OSError as error:
        raise CheckpointError(f"checkpoint {name} is no folder here, and the hub did not give it: {error}") from error
    return model_index


def _check_weights(name: str, pipeline: StableDiffusionPipeline) -> None:
    for part in PARTS:
        if getattr(pipeline, part) is None:
            raise CheckpointError(f"checkpoint {name} has no {part}")
    for part in ("unet", "vae"):  # diffusers leaves a missing tensor on the meta device, without storage
        missing_tensors = [key for key, tensor in getattr(pipeline, part).state_dict().items() if tensor.is_meta]
        if missing_tensors:
            raise _lacking(name, part, missing_tensors)


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
    widths, text_width = unet.config.cross_attention_dim, pipeline.text_encoder.config.hidden_size
    if unet.config.encoder_hid_dim is None and {text_width} != set(
        widths if isinstance(widths, list | tuple) else [widths]
    ):
        raise CheckpointError(
            f"checkpoint {name} does not fit together: its network reads texts of width {widths},"
            f" its text encoder gives {text_width}"
        )
    if unet.config.time_cond_proj_dim is not None:
        raise CheckpointError(f"checkpoint {name} has its guidance distilled in, and cannot be guided again")
