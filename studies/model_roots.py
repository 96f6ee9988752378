"""Load models of studies only from the folders that the installation allows, and only as safetensors.

Whoever may plan a study names checkpoints and encoders, and a worker loads them with its own rights: pickled weights
could run code, and a name could lead anywhere on the machine. Commands that an operator gives a path load from there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from django.conf import settings

from evenhand.errors import InputError

DEMO = "demo"
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
PICKLED = (".bin", ".ckpt", ".pkl", ".pt", ".pth")


class ModelPlaceError(InputError):
    """A model that may not be loaded from where it lies, or not as it is stored; the message says why."""


def check_model(name: str) -> None:
    """Raise ``ModelPlaceError`` for a name that leads to a folder or file outside of the allowed ones, or to pickles.

    ``demo``, hub ids and names of architectures are no paths. Whether a path outside exists is not told.
    """
    name = name.strip()
    path = Path(name)
    if not name or name == DEMO or not _is_path(name):
        return
    resolved = path.resolve()
    if not any(resolved.is_relative_to(Path(root).resolve()) for root in settings.MODEL_ROOTS):
        raise ModelPlaceError(
            f"{name} lies in none of the folders from which models may be loaded; whoever runs the server can add one"
            " to EVENHAND_MODEL_ROOTS"
        )
    if not settings.MODEL_PICKLES and (pickled := _pickled(resolved)):
        raise ModelPlaceError(
            f"{name} holds pickled weights ({pickled}), which could run code; save them as safetensors, or let whoever"
            " runs the server set EVENHAND_MODEL_PICKLES"
        )


def check_metric(metric: str) -> None:
    """Check what a metric or a space of features loads: ``clip=FOLDER``, ``clip=MODEL,WEIGHTS``, ``hps=FILE``."""
    for name in metric.partition("=")[2].split(","):
        check_model(name)


def _is_path(name: str) -> bool:
    """Whether a name leads into the file system: loaders take a hub id for a folder where there is one."""
    return (os.sep in name and not HUB_ID.fullmatch(name)) or name in (".", "..") or os.path.lexists(name)


def _pickled(path: Path) -> str:
    """Return the name of a file of pickled weights that would be loaded; empty where none would."""
    if os.path.isfile(path):  # Path.is_file raises an error for a name that is too long
        return path.name if path.suffix in PICKLED else ""
    if not os.path.isdir(path):
        return ""
    for folder in (path, *sorted(each for each in path.glob("*") if each.is_dir())):
        files = [each for each in folder.glob("*") if each.is_file()]
        weights = sorted(each.name for each in files if each.suffix in PICKLED)
        has_config = any(each.suffix == ".json" for each in files)
        if weights and has_config and not any(each.suffix == ".safetensors" for each in files):
            return weights[0]
    return ""


def without_folders(text: str) -> str:
    """Return an error's text without the server's own folders: study admins see what lies in them by its name."""
    for folder in sorted({str(Path(each)) for each in settings.OWN_FOLDERS}, key=len, reverse=True):
        text = text.replace(f"{folder}{os.sep}", "…/").replace(folder, f"…/{Path(folder).name}")
    return text
