"""Let uploads that wait for a decision be found by every web machine, where pictures lie in a bucket.

An upload lies in a folder of the machine that took it. With a bucket the folder is put there too, as one archive, and a
machine that does not have the folder fetches it. Without a bucket there is nothing to do: the folder is all there is.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import cast

from django.core.files.base import File
from django.core.files.storage import storages
from django.utils import timezone

from evenhand.studies.stores.base import Store, StoredFile


def share(folder: Path) -> None:
    """Put a folder, which is named by the upload's number, where every machine finds it. Raises ``OSError``."""
    archive = _archive(folder)
    if archive is None:
        return
    with tempfile.TemporaryFile(dir=folder.parent) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(folder, arcname=".")
        archive.store.save(archive.name, File(file))


def fetch(folder: Path) -> None:
    """Make the folder of an upload that another machine took; nothing where it is here, or nowhere."""
    archive = None if folder.exists() else _archive(folder)
    if archive is None:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetched-") as fetched:
        try:
            with archive.open() as file, tarfile.open(fileobj=file) as tar:
                tar.extractall(fetched, filter="data")
        except FileNotFoundError:
            return
        if not folder.exists():  # else another request fetched it meanwhile
            shutil.copytree(fetched, folder)


def remove(folder: Path) -> None:
    """Remove an upload, here and where other machines find it."""
    shutil.rmtree(folder, ignore_errors=True)
    archive = _archive(folder)
    if archive is not None:
        archive.delete()


def remove_older_than(age: timedelta) -> None:
    """Remove from the bucket what was put there longer ago."""
    store = _store()
    if store is not None:
        for name in [name for name, changed in store.files() if timezone.now() - changed > age]:
            store.delete(name)


def _store() -> Store | None:
    return cast(Store, storages["uploads"]) if "uploads" in storages.backends else None


def _archive(folder: Path) -> StoredFile | None:
    store = _store()
    return None if store is None else StoredFile(store, f"{folder.name}.tar")
