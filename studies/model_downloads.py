"""Download a checkpoint, an encoder or PickScore from the hub into ``var/models``: safetensors of a named revision."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from evenhand.errors import InputError

TEXTS = ("*.json", "*.txt")
KINDS: Mapping[str, tuple[str, ...]] = {  # files that a model of this kind is loaded from
    "checkpoint": ("model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors"),
    "encoder": ("open_clip_config.json", "open_clip_model.safetensors", *TEXTS),
    "pickscore": ("config.json", "*.safetensors", *TEXTS),
}
LEFT_OUT = (
    "*.fp16.safetensors",
    "*.non_ema.safetensors",
    "*.fp16.safetensors.index.json",
    ".*",
)  # loaded by nothing here
RECORD = ".evenhand.json"  # hidden, so that a folder's fingerprint is that of the model's files alone


class DownloadError(InputError):
    """A model that may not or cannot be downloaded; the message says why, and what to do."""


@dataclass(frozen=True)
class Downloaded:
    """A model's folder, the commit that it holds, and whether it was there before."""

    folder: Path
    commit: str
    was_there: bool


def fetch(name: str, kind: str, revision: str = "main", endpoint: str | None = None) -> Downloaded:
    """Download what a model is loaded from; an interrupted download goes on where it was.

    name: ``owner/name`` on the hub. kind: one of ``KINDS``. revision: a branch, a tag or a commit; the commit that it
    is at is recorded in the folder. endpoint: the hub's address; by default HF_ENDPOINT, else the public hub.
    Raises ``DownloadError`` where the installation does not allow it, and for what the hub does not give or hold.
    """
    if not settings.MODEL_DOWNLOADS:
        raise DownloadError(
            "this installation downloads no models: set EVENHAND_MODEL_DOWNLOADS=1, or copy the model's folder here "
            "and give its path"
        )
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi(endpoint=endpoint).model_info(name, revision=revision, files_metadata=True)
    except Exception as error:  # the hub's client passes on those of its transport, which it changes
        raise DownloadError(f"the hub did not give {name} at {revision}: {_first_line(error)}") from error
    commit, files = str(info.sha), _wanted(name, kind, info.siblings or [])
    folder = Path(settings.MODELS) / f"{name.replace('/', '--')}-{commit[:12]}"
    if (folder / RECORD).is_file():
        return Downloaded(folder, commit, True)
    unfinished = folder.with_name(f".{folder.name}")
    try:
        snapshot_download(
            name, revision=commit, local_dir=unfinished, allow_patterns=list(files), endpoint=endpoint, max_workers=4
        )
    except Exception as error:
        raise DownloadError(f"{name} could not be downloaded, run it again to go on: {_first_line(error)}") from error
    hashes = _verified(unfinished, files)
    record = {
        "name": name, "kind": kind, "revision": revision, "commit": commit, "files": hashes,
        "downloaded_at": timezone.now().isoformat(timespec="seconds"),
    }  # fmt: skip
    (unfinished / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    unfinished.rename(folder)
    return Downloaded(folder, commit, False)


def _wanted(name: str, kind: str, siblings: list[Any]) -> dict[str, str | None]:
    """Return the files to download with the SHA-256 that the hub tells; refuse a model without safetensors."""
    patterns = KINDS[kind]
    files = {
        each.rfilename: each.lfs.sha256 if each.lfs else None
        for each in siblings
        if any(fnmatch.fnmatch(each.rfilename, pattern) for pattern in patterns)
        and not any(fnmatch.fnmatch(Path(each.rfilename).name, pattern) for pattern in LEFT_OUT)
    }
    first = patterns[0]
    if first not in files:
        raise DownloadError(f"{name} holds no {first}, so it is no {kind}")
    if not any(file.endswith(".safetensors") for file in files):
        raise DownloadError(f"{name} holds no safetensors; other weights could run code, and are not downloaded")
    return files


def _verified(folder: Path, files: Mapping[str, str | None]) -> dict[str, str]:
    """Return the SHA-256 of each file; remove one that is not what the hub said, so that the next run loads it anew."""
    hashes = {}
    for file, expected in sorted(files.items()):
        with (folder / file).open("rb") as data:
            hashes[file] = hashlib.file_digest(data, "sha256").hexdigest()
        if expected and hashes[file] != expected:
            (folder / file).unlink()
            raise DownloadError(
                f"{file} is not what the hub said: SHA-256 {hashes[file]}, not {expected}; run it again"
            )
    return hashes


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
