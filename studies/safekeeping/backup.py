"""Copy the database and every picture into a folder, with a record of what lies there.

The database is written first: pictures lie under their hashes and only become more, so that every picture that it names
is there when the pictures are copied. The secret key stays out; the record holds a fingerprint by which to know it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import connection
from django.utils import timezone
from django.utils.crypto import salted_hmac

from evenhand.errors import InputError
from evenhand.studies import image_store
from evenhand.studies.models import Image, Study
from evenhand.studies.rating import chain
from evenhand.studies.safekeeping import databases, pictures

RECORD, PICTURES = "backup.json", "images"


@dataclass(frozen=True)
class Record:
    """What ``backup.json`` says. secret_key: a fingerprint, from which the key cannot be computed."""

    made_at: str
    database: str
    database_sha256: str
    pictures: int
    secret_key: str


def back_up(folder: Path) -> Record:
    """Write a backup into a folder that does not exist yet or is empty. Raises ``InputError``, ``OSError``."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)  # it holds all that people answered
    database = folder / databases.file_name()
    databases.dump(database)
    copied = pictures.write_out(folder / PICTURES)
    record = Record(timezone.now().isoformat(), database.name, _sha256(database), copied, key_fingerprint())
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
    return record


def read_record(folder: Path) -> Record:
    """Return a backup's record; ``InputError`` where the folder is no whole backup or was changed."""
    try:
        record = Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{folder} is no whole backup: {error}") from None
    if record.database not in databases.FILES.values() or not (folder / record.database).is_file():
        raise InputError(f"{folder} is no whole backup: it has no database file")
    if record.database != databases.file_name():
        raise InputError(f"the backup is a {record.database}, this installation's database is {connection.vendor}")
    if _sha256(folder / record.database) != record.database_sha256:
        raise InputError(f"{record.database} is not as it was written: its SHA-256 differs from the record's")
    return record


def restore(folder: Path) -> Record:
    """Read a backup into an empty installation. Raises ``InputError`` before anything is written, where it cannot."""
    record = read_record(folder)
    if connection.introspection.table_names():
        raise InputError("the database is not empty; restore into an empty one, without `migrate` before")
    if any(image_store.stored_files()):
        raise InputError(f"{image_store.store().place()} holds pictures already; restore into an empty installation")
    if damaged := [path.name for path in pictures.files_in(folder / PICTURES) if not pictures.is_intact(path)]:
        raise InputError(f"{len(damaged)} pictures of the backup are not as they were written: {damaged[0]}")
    databases.load(folder / record.database)
    pictures.take_in(folder / PICTURES)
    return record


def faults() -> list[str]:
    """Return what is wrong with this installation's pictures and ratings: each hash and each chain is looked at."""
    found = []
    for sha256 in Image.objects.order_by().values_list("sha256", flat=True).distinct():
        try:
            if not image_store.is_intact(sha256):
                found.append(f"picture {sha256} is not as it was written")
        except FileNotFoundError:
            found.append(f"picture {sha256} is missing")
    for study in Study.objects.order_by("pk"):
        found += [f"{study}: {fault}" for fault in chain.faults(study)]
        if fault := chain.closing_fault(study):
            found.append(f"{study}: {fault}")
    return found


def key_fingerprint(key: str | None = None) -> str:
    """Return a fingerprint of a secret key, by default of the one that signs."""
    return salted_hmac("evenhand.backup", "key", secret=key, algorithm="sha256").hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
