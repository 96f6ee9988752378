"""Load transformers' models from a local folder: safetensors alone, of the architecture that is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evenhand.errors import InputError, is_machine_fault


class LocalModelError(InputError):
    """A model cannot be loaded; the message names it."""


def load_model(model_class: Any, name: str, model_type: str, *, device: str) -> Any:
    """Load float32 weights of ``model_class`` from a folder, or from the hub's local cache for another name.

    Pickled weights, another architecture and weights that lack a part are refused: transformers would fill the part
    with random numbers.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_folder(folder, model_type)
    try:
        model, told = model_class.from_pretrained(
            name, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # transformers passes on errors of its hub client, of safetensors and of torch
        if is_machine_fault(error):
            raise
        raise LocalModelError(f"the model {name!r} cannot be loaded: {error}") from error
    if model.config.model_type != model_type:
        raise LocalModelError(f"{name} is a {model.config.model_type!r} model, not a {model_type!r} one")
    missing = sorted(told["missing_keys"])
    if missing or told.get("mismatched_keys"):
        raise LocalModelError(
            f"{name} holds weights of another architecture: {len(missing)} are missing, for example "
            f"{next(iter(missing), '')}"
        )
    return model.float().eval().requires_grad_(False).to(device)


def _check_folder(folder: Path, model_type: str) -> None:
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise LocalModelError(f"{folder} is no model folder: {path.name} cannot be read") from error
    if found != model_type:
        raise LocalModelError(f"{folder} holds a {found!r} model, not a {model_type!r} one")
    if not list(folder.glob("*.safetensors")):
        pickles = ", ".join(
            sorted(p.name for p in (*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")))
        )
        raise LocalModelError(
            f"{folder} holds no safetensors" + (f"; {pickles} are pickles, which could run code" if pickles else "")
        )


def features_of(output: Any) -> Any:
    """Return the tensor of projected features: transformers 5 wraps it into an object."""
    return output if hasattr(output, "shape") else output.pooler_output
