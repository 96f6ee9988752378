"""moto's S3 server in a process of its own, and a bucket in it that a test uses as the store of pictures."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from evenhand.config.pictures import picture_stores
from evenhand.studies.demonstration.processes import free_port, wait_until_it_answers

PREFIX = "studies/one"


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """moto's server; gives its address."""
    port = free_port(0)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_it_answers(f"{address}/moto-api/", process, log)
        yield address
    finally:
        process.kill()
        process.wait()


class TestBucket:
    """A bucket as its server sees it, by boto3 alone."""

    __test__ = False

    def __init__(self, address: str) -> None:
        self.name = f"pictures-{uuid.uuid4().hex[:8]}"
        self.client: Any = boto3.client("s3", endpoint_url=address)
        self.client.create_bucket(Bucket=self.name)

    def keys(self) -> list[str]:
        """All keys."""
        return [entry["Key"] for entry in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]

    def get(self, key: str) -> bytes:
        """An object's bytes."""
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        """Write an object past the application."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, key: str) -> None:
        """Remove an object past the application."""
        self.client.delete_object(Bucket=self.name, Key=key)


def key_of(sha256: str, ending: str = "png") -> str:
    """Where a picture's object lies."""
    return f"{PREFIX}/images/{sha256[:2]}/{sha256[2:4]}/{sha256}.{ending}"


def use_bucket(address: str, monkeypatch: pytest.MonkeyPatch, settings: Any) -> TestBucket:
    """Make a bucket, and let this test and its child processes keep pictures in it."""
    access = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (access | {"AWS_ENDPOINT_URL": address}).items():
        monkeypatch.setenv(name, value)
    bucket = TestBucket(address)
    monkeypatch.setenv("EVENHAND_STORAGE", f"s3://{bucket.name}/{PREFIX}")
    settings.STORAGES = settings.STORAGES | picture_stores(f"s3://{bucket.name}/{PREFIX}/")
    return bucket
