"""Load a Stable Diffusion checkpoint from a folder or a hub id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import DiffusionPipeline
from safetensors import SafetensorError

from evenhand.errors import InputError, is_machine_fault
from evenhand.generation.attention import AttentionError, cross_attention_modules
from evenhand.generation.fingerprints import HUB_ID, CheckpointError
from evenhand.generation.kinds.base import Kind
from evenhand.generation.kinds.registry import NAMES, Pipeline, kind_named

_DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}

# Settings of a UNet that needs inputs beside the text, and the name of each input in the error message.
_FURTHER_CONDITIONS = {
    "addition_embed_type": "other added conditions than its kind of pipeline has",
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "dual_cross_attention": "two texts for each cross-attention",
}
_TEXT_PROJECTIONS = (None, "text_proj")

_LOADING_ERRORS = (OSError, ValueError, TypeError, RuntimeError, AttributeError, KeyError, SafetensorError)


class DeviceError(InputError):
    """A device or dtype that this machine or torch does not offer; the message names it."""


def load_pipeline(
    name_or_path: str | Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype | str | None = None,
    channels_last: bool = False,
    compiled: bool = False,
    safetensors_only: bool = False,
) -> Pipeline:
    """Load a Stable Diffusion pipeline, 1, 2 or XL, on ``device``, without its safety checker or watermark.

    name_or_path: a diffusers folder, or a hub id ``owner/name`` where there is no such folder.
    dtype: a torch dtype or its name; float16 on a GPU and float32 on a CPU by default.
    channels_last: convolutions' memory layout in UNet and VAE; for compiled models on a GPU.
    compiled: compile UNet and VAE decoder, which takes minutes at the first call of each shape and pays on a GPU in
        long runs. A compiled UNet runs one graph for all perturbed calls, whatever their arms, and one for plain calls.
    safetensors_only: refuse pickled weights, which could run code.
    ``channels_last`` and ``compiled`` change a picture's last bits; both are recorded in its provenance.
    Raises CheckpointError (not a checkpoint, parts missing, another class, no cross-attention) and DeviceError.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    name = str(name_or_path)
    kind_class, model_index = _check_declaration(name)
    safe: dict[str, Any] = {"use_safetensors": True} if safetensors_only else {}
    try:
        here = Path(name).is_dir()
        folder = Path(name) if here else kind_class.pipeline_class.download(name, **safe, **kind_class.omitted)
        encoders = {
            part: _text_encoder(name, Path(folder) / part, model_index.get(part), dtype, safe)
            for part in kind_class.encoders
        }
        pipeline: Pipeline = kind_class.pipeline_class.from_pretrained(
            str(folder), dtype=dtype, **safe, **encoders, **kind_class.omitted, **kind_class.options
        )
    except CheckpointError:
        raise
    except _LOADING_ERRORS as error:
        if is_machine_fault(error):
            raise
        raise CheckpointError(f"checkpoint {name} cannot be loaded: {error}") from error
    kind = kind_class(pipeline)
    _check_weights(name, kind)
    _check_network(name, kind)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    if channels_last:
        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=torch.channels_last)
    if compiled:
        pipeline.unet.compile(fullgraph=True)
        pipeline.vae.decoder.compile(fullgraph=True)
    return pipeline


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


def _text_encoder(name: str, folder: Path, declared: Any, dtype: torch.dtype, safe: dict[str, Any]) -> Any:
    """Load a text encoder by itself: transformers gives a missing tensor random values and only reports it."""
    part = folder.name
    library, class_name = declared or (None, None)
    if class_name is None:
        raise CheckpointError(f"checkpoint {name} has no {part}")
    if library != "transformers" or not hasattr(transformers, class_name):
        raise CheckpointError(f"checkpoint {name}: its {part} is {library}.{class_name}, which transformers has not")
    encoder, loading_info = getattr(transformers, class_name).from_pretrained(
        folder, dtype=dtype, output_loading_info=True, **safe
    )
    if loading_info["missing_keys"]:
        raise _lacking(name, part, sorted(loading_info["missing_keys"]))
    return encoder


def _lacking(name: str, part: str, tensors: list[str]) -> CheckpointError:
    return CheckpointError(f"checkpoint {name}: the weights of its {part} lack {', '.join(tensors)}")


def _check_declaration(name: str) -> tuple[type[Kind], dict[str, Any]]:
    """Return kind and model index, after checking that the checkpoint exists, with a right class and all parts."""
    if not name:
        raise CheckpointError("a checkpoint must be named, and the name is empty")
    if Path(name).is_file():
        raise CheckpointError(f"checkpoint {name} is a file, not a folder")
    if Path(name).is_dir():
        model_index = _read_index(Path(name))
    elif HUB_ID.fullmatch(name) and not name.startswith("."):
        model_index = _hub_index(name)
    else:
        raise CheckpointError(f"checkpoint folder {name} does not exist")
    kind = kind_named(model_index.get("_class_name"))
    if kind is None:
        raise CheckpointError(f"checkpoint {name} is a {model_index.get('_class_name')}, not a {NAMES}")
    missing_parts = [part for part in kind.parts if Path(name).is_dir() and not (Path(name) / part).is_dir()]
    if missing_parts:
        raise CheckpointError(f"checkpoint folder {name} lacks {', '.join(f'{part}/' for part in missing_parts)}")
    return kind, model_index


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
    return model_index


def _hub_index(name: str) -> dict[str, Any]:
    try:
        model_index: dict[str, Any] = DiffusionPipeline.load_config(name)
    except OSError as error:
        raise CheckpointError(f"checkpoint {name} is no folder here, and the hub did not give it: {error}") from error
    return model_index


def _check_weights(name: str, kind: Kind) -> None:
    for part in kind.parts:
        if getattr(kind.pipeline, part) is None:
            raise CheckpointError(f"checkpoint {name} has no {part}")
    for part in ("unet", "vae"):  # diffusers leaves a missing tensor on the meta device, without storage
        missing_tensors = [key for key, tensor in getattr(kind.pipeline, part).state_dict().items() if tensor.is_meta]
        if missing_tensors:
            raise _lacking(name, part, missing_tensors)


def _check_network(name: str, kind: Kind) -> None:
    unet, vae = kind.pipeline.unet, kind.pipeline.vae
    try:
        cross_attention_modules(unet)
    except AttentionError as error:
        raise CheckpointError(f"checkpoint {name}: {error}") from error
    if kind.added_embedding and unet.config.addition_embed_type is None:
        raise CheckpointError(
            f"checkpoint {name} cannot be used: its network (addition_embed_type=None) takes no added conditions"
        )
    for setting, condition in _FURTHER_CONDITIONS.items():
        value = unet.config.get(setting)
        if value and not (setting == "addition_embed_type" and value == kind.added_embedding):
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
    if misfit := kind.misfit():
        raise CheckpointError(f"checkpoint {name} does not fit together: {misfit}")
    if unet.config.time_cond_proj_dim is not None:
        raise CheckpointError(f"checkpoint {name} has its guidance distilled in, and cannot be guided again")
    scheduler = kind.pipeline.scheduler
    if "beta_schedule" not in scheduler.config:
        raise CheckpointError(
            f"checkpoint {name} cannot be used: its {type(scheduler).__name__} has no noise schedule of betas, which"
            " every scheduler here needs"
        )
