"""Keep files in an S3-compatible bucket, by django-storages. Only imported where a bucket is configured."""

from __future__ import annotations

import base64
import errno
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import ContentFile, File
from storages.backends.s3 import S3Storage

CLIENT = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}, max_pool_connections=32
)


class BucketError(OSError):
    """The bucket does not answer, or refuses: an outage, after which work is tried again."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(errno.EIO, text, place)


class Bucket(S3Storage):
    """A bucket, or what lies in it under a prefix (``location``). Objects appear whole or not at all.

    The bucket compares each object with the SHA-256 that is sent with it before it says that it is stored.
    """

    client_config: Any  # set by django-storages from its own settings

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.client_config = self.client_config.merge(CLIENT)
        self._connecting = threading.Lock()
        self._connection: Any = None

    @property
    def connection(self) -> Any:
        """One connection for all threads: making one takes longer than a request."""
        with self._connecting:
            if self._connection is None:
                self._connection = super().connection
            return self._connection

    @property
    def _client(self) -> Any:
        return self.connection.meta.client

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name."""
        with self._errors():
            return super().exists(name)

    def size(self, name: str) -> int:
        """Return an object's bytes. Raises ``FileNotFoundError``."""
        with self._errors():
            return super().size(name)

    def get_modified_time(self, name: str) -> datetime:
        """Return when an object was written last. Raises ``FileNotFoundError``."""
        with self._errors():
            try:
                return self._client.head_object(**self._key(name))["LastModified"]
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.NOT_FOUND:
                    raise
        raise FileNotFoundError(errno.ENOENT, "there is no such object", self.place(name))

    def delete(self, name: str) -> None:
        """Remove an object, where it is there."""
        with self._errors():
            super().delete(name)

    def _open(self, name: str, mode: str = "rb") -> File:
        """Read an object in one request (django-storages takes three)."""
        if mode != "rb":
            raise ValueError(f"objects are opened for reading bytes, not {mode!r}")
        with self._errors():
            try:
                return ContentFile(self._client.get_object(**self._key(name))["Body"].read(), name)
            except self._client.exceptions.NoSuchKey:
                raise FileNotFoundError(errno.ENOENT, "there is no such object", self.place(name)) from None

    def _save(self, name: str, content: File) -> str:
        digest = hashlib.sha256()
        content.seek(0)
        for chunk in content.chunks():
            digest.update(chunk)
        content.seek(0)
        checksum = base64.b64encode(digest.digest()).decode()
        parameters = self._get_write_parameters(name, content)
        with self._errors():
            self._client.put_object(**self._key(name), Body=content.file, ChecksumSHA256=checksum, **parameters)
        return name

    def files(self) -> Iterator[tuple[str, datetime]]:
        """Yield name and time of last change of every object."""
        prefix = f"{self.location.strip('/')}/".lstrip("/")
        with self._errors():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket_name, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield entry["Key"].removeprefix(prefix), entry["LastModified"]

    def place(self, name: str = "") -> str:
        """Return the address of an object, or of what the store holds."""
        return f"s3://{self.bucket_name}/{self._normalize_name(name) if name else self.location}".rstrip("/")

    def free(self) -> None:
        """Return None: a bucket has no limit that could be asked for."""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            raise BucketError(self.place(), f"{told.get('Code', 'error')}: {told.get('Message', error)}") from error
        except BotoCoreError as error:
            raise BucketError(self.place(), str(error)) from error
