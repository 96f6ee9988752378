"""Keep an uploaded prompt file for an hour, until its admin has looked at it and imports or discards it.

It lies in a folder of its own under ``var/uploads``; a signed token names the folder, the file and whose it is. Other
web machines find it where pictures lie in a bucket (``studies.shared_uploads``).
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core import signing
from django.core.files.uploadedfile import UploadedFile

from evenhand.errors import InputError
from evenhand.studies import shared_uploads

LIFETIME = 3600  # seconds
SIZE_LIMIT = 100_000_000  # bytes
ROW_LIMIT = 1_000_000  # prompts; repeated ones are found in the memory of the web process
NAME_LIMIT = 255  # characters, as the record's
_SALT = "prompt-upload"
_FOLDER = re.compile(r"[0-9a-f]{32}")


class UploadError(InputError):
    """An upload that cannot be kept, or is no longer there; the message says why."""


@dataclass(frozen=True)
class Upload:
    """A kept file: where it lies, what its owner calls it, and the token that leads to it."""

    path: Path
    name: str
    token: str


def keep(file: UploadedFile, owner_id: int) -> Upload:
    """Write an uploaded file to its folder. Raises ``UploadError`` where it is too large or its name too long."""
    remove_old()
    shared_uploads.remove_older_than(timedelta(seconds=LIFETIME))
    name = Path(file.name or "").name
    if len(name) > NAME_LIMIT:
        raise UploadError(f"the file’s name has {len(name)} characters, at most {NAME_LIMIT} are kept")
    if (file.size or 0) > SIZE_LIMIT:
        raise UploadError(
            f"the file has {file.size:,} bytes, at most {SIZE_LIMIT:,} are uploaded; import it on the server with "
            "manage.py import_prompts"
        )
    number = secrets.token_hex(16)
    folder = _root() / number
    folder.mkdir(parents=True)
    path = folder / f"prompts{Path(name).suffix[:10]}"  # its own name may be too long for the disk
    with path.open("wb") as kept:
        kept.writelines(file.chunks())
    shared_uploads.share(folder)
    return Upload(path, name, signing.dumps([number, name, owner_id], salt=_SALT, compress=True))


def find(token: str, owner_id: int) -> Upload:
    """Return the upload that a token leads to. Raises ``UploadError`` where it is another's, too old or gone."""
    remove_old()
    try:
        number, name, owner = signing.loads(token, salt=_SALT, max_age=LIFETIME)
    except (signing.BadSignature, ValueError) as error:  # too old, too
        raise UploadError("the uploaded file is kept for an hour, which is over; upload it again") from error
    if owner == owner_id:
        shared_uploads.fetch(_root() / number)
    paths = list((_root() / number).glob("prompts*"))
    if owner != owner_id or not paths:
        raise UploadError("the uploaded file is no longer kept; upload it again")
    return Upload(paths[0], name, token)


def remove(upload: Upload) -> None:
    """Remove an upload."""
    shared_uploads.remove(upload.path.parent)


def remove_old() -> None:
    """Remove the uploads whose hour is over."""
    if not _root().is_dir():
        return
    for folder in _root().iterdir():
        try:
            if _FOLDER.fullmatch(folder.name) and folder.stat().st_mtime < time.time() - LIFETIME:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:  # another request has removed it
            continue


def _root() -> Path:
    return Path(settings.VAR) / "uploads"
