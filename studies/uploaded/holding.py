"""Keep uploaded pictures for an hour, until their admin has looked at them and takes or discards them.

They lie in a folder of their own beside uploaded prompt files, with what was seen of them; a signed token names the
folder and whose it is.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core import signing
from django.core.files.uploadedfile import UploadedFile

from evenhand.studies import shared_uploads
from evenhand.studies.prompt_uploads import LIFETIME, NAME_LIMIT, UploadError, remove_old
from evenhand.studies.uploaded.bringing import files_of
from evenhand.studies.uploaded.collection import Collection, look_through
from evenhand.studies.uploaded.sources import SourceError, allowed_folder

SIZE_LIMIT = 500_000_000  # bytes of all files together
PICTURE_LIMIT = 400  # they are looked at, and later stored, while their admin waits
_SALT = "picture-upload"
_SEEN = "seen.json"


@dataclass(frozen=True)
class Held:
    """Pictures that are kept: their folder, what was brought, what was seen, and the token that leads to them."""

    folder: Path
    title: str
    collection: Collection
    token: str


def keep(files: Sequence[UploadedFile], owner_id: int, *, server_folder: str = "") -> Held:
    """Keep uploaded files, or note a folder of the server, and look at every picture.

    Raises ``InputError`` where they are too large or cannot be used; then nothing is kept.
    """
    remove_old()
    shared_uploads.remove_older_than(timedelta(seconds=LIFETIME))
    number = secrets.token_hex(16)
    folder = _root() / number
    folder.mkdir(parents=True)
    try:
        paths, names = _written(files, folder)
        if server_folder:
            path = allowed_folder(server_folder)
            paths, names = [path, *paths], [path.name, *names]
        if not paths:
            raise UploadError("choose files, or name a folder")
        collection = look_through(files_of(paths, folder / "unpacked", names), most=PICTURE_LIMIT)
        title = ", ".join(names)[:NAME_LIMIT]
        seen = {"title": title, "collection": collection.to_dict(folder)}
        (folder / _SEEN).write_text(json.dumps(seen), encoding="utf-8")
        shared_uploads.share(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Held(folder, title, collection, signing.dumps([number, owner_id], salt=_SALT))


def _written(files: Sequence[UploadedFile], folder: Path) -> tuple[list[Path], list[str]]:
    names = [Path(file.name or "").name for file in files]
    size = sum(file.size or 0 for file in files)
    if size > SIZE_LIMIT:
        raise UploadError(
            f"the files have {size:,} bytes, at most {SIZE_LIMIT:,} are uploaded; use manage.py import_pictures"
        )
    if long := [name for name in names if len(name) > NAME_LIMIT]:
        raise UploadError(f"the name of a file has {len(long[0])} characters, at most {NAME_LIMIT} are kept")
    paths = []
    for place, file in enumerate(files):
        path = folder / f"file{place}"
        with path.open("wb") as kept:
            kept.writelines(file.chunks())
        paths.append(path)
    return paths, names


def find(token: str, owner_id: int) -> Held:
    """Return the pictures that a token leads to. Raises ``UploadError`` where they are another's, too old or gone."""
    remove_old()
    try:
        number, owner = signing.loads(token, salt=_SALT, max_age=LIFETIME)
        if owner != owner_id:
            raise SourceError("they are another's")
        folder = _root() / number
        shared_uploads.fetch(folder)
        seen = json.loads((folder / _SEEN).read_text(encoding="utf-8"))
    except (signing.BadSignature, ValueError, FileNotFoundError) as error:  # too old, too
        raise UploadError("uploaded pictures are kept for an hour; upload them again") from error
    return Held(folder, seen["title"], Collection.from_dict(seen["collection"], folder), token)


def remove(held: Held) -> None:
    """Remove what was uploaded; a folder of the server stays as it is."""
    shared_uploads.remove(held.folder)


def _root() -> Path:
    return Path(settings.VAR) / "uploads"
