"""Models from the hub: refused by default; else safetensors of one commit, from a server that speaks as the hub."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from evenhand.generation.fingerprints import checkpoint_fingerprint
from evenhand.studies.model_downloads import RECORD, DownloadError, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"weights of the network",
    "unet/diffusion_pytorch_model.fp16.safetensors": b"the same in half precision",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
    "v1-5-pruned.ckpt": b"another pickle",
    "tokenizer/merges.txt": b"a b",
    "README.md": b"words",
}
WANTED = {"model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt"}


@dataclass
class Hub:
    """The hub's addresses that a download asks for, over files in memory."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    lies: dict[str, bytes] = field(default_factory=dict)  # served in a file's place
    served: list[str] = field(default_factory=list)
    url: str = ""

    def entry(self, name: str, data: bytes, key: str) -> dict[str, Any]:
        large = {"sha256": hashlib.sha256(data).hexdigest(), "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        lfs = {"lfs": {**large, "pointerSize": 100}} if name.endswith(("safetensors", "bin", "ckpt")) else {}
        return {key: name, "size": len(data), "type": "file", "oid": "0" * 40, "blobId": "0" * 40, **lfs}

    def answer(self, path: str) -> tuple[int, bytes]:
        if path.startswith("/api/models/someone/model/revision/"):
            if path.rpartition("/")[2] not in ("main", "v1", COMMIT):
                return 404, b'{"error": "Invalid rev id"}'
            siblings = [self.entry(name, data, "rfilename") for name, data in self.files.items()]
            return 200, json.dumps({"id": "someone/model", "sha": COMMIT, "siblings": siblings}).encode()
        if path.startswith("/api/models/someone/model/tree/"):
            return 200, json.dumps([self.entry(name, data, "path") for name, data in self.files.items()]).encode()
        name = path.removeprefix(f"/someone/model/resolve/{COMMIT}/")
        if name in self.files:
            return 200, self.lies.get(name, self.files[name])
        return 404, b'{"error": "Repository not found"}'


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            status, data = hub.answer(path)
            if self.command == "GET" and "/resolve/" in path:
                hub.served.append(path.partition(f"{COMMIT}/")[2])
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _allowed(settings: Any, tmp_path: Any) -> None:
    settings.MODEL_DOWNLOADS, settings.MODELS = True, tmp_path / "models"


def test_nothing_is_downloaded_unless_the_installation_allows_it(settings: Any, hub: Hub) -> None:
    settings.MODEL_DOWNLOADS = False
    with pytest.raises(CommandError, match=r"EVENHAND_MODEL_DOWNLOADS=1, or copy"):
        call_command("fetch_model", "someone/model", stdout=io.StringIO())
    assert not settings.MODELS.exists()


def test_a_checkpoint_is_its_safetensors_of_one_commit_which_is_recorded(hub: Hub) -> None:
    found = fetch("someone/model", "checkpoint", "v1", endpoint=hub.url)
    assert (found.commit, found.was_there) == (COMMIT, False)
    assert found.folder.name == f"someone--model-{COMMIT[:12]}"
    there = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*") if path.is_file()}
    assert {name for name in there if not name.startswith(".")} == WANTED
    assert set(hub.served) == WANTED
    record = json.loads((found.folder / RECORD).read_text())
    assert (record["name"], record["revision"], record["commit"]) == ("someone/model", "v1", COMMIT)
    assert record["files"] == {name: hashlib.sha256(FILES[name]).hexdigest() for name in sorted(WANTED)}
    before = checkpoint_fingerprint(found.folder)
    (found.folder / RECORD).unlink()
    assert checkpoint_fingerprint(found.folder) == before  # the record is no part of the model


def test_what_is_there_is_not_downloaded_again(hub: Hub) -> None:
    first = fetch("someone/model", "checkpoint", endpoint=hub.url)
    hub.served.clear()
    again = fetch("someone/model", "checkpoint", COMMIT, endpoint=hub.url)
    assert (again.folder, again.was_there, hub.served) == (first.folder, True, [])


def test_a_model_of_pickles_is_refused(hub: Hub, settings: Any) -> None:
    hub.files = {name: data for name, data in FILES.items() if not name.endswith(".safetensors")}
    with pytest.raises(DownloadError, match="holds no safetensors; other weights could run code"):
        fetch("someone/model", "checkpoint", endpoint=hub.url)
    with pytest.raises(DownloadError, match="so it is no encoder"):
        fetch("someone/model", "encoder", endpoint=hub.url)
    assert hub.served == []


def test_bytes_that_are_not_what_the_hub_said_are_not_kept(hub: Hub, settings: Any) -> None:
    file = "unet/diffusion_pytorch_model.safetensors"
    hub.lies = {file: b"weights of the netw0rk"}
    with pytest.raises(DownloadError, match=f"{file} is not what the hub said"):
        fetch("someone/model", "checkpoint", endpoint=hub.url)
    assert [path for path in settings.MODELS.iterdir() if not path.name.startswith(".")] == []
    hub.lies = {}
    assert (fetch("someone/model", "checkpoint", endpoint=hub.url).folder / file).read_bytes() == FILES[file]


@pytest.mark.parametrize(("name", "revision"), [("someone/model", "v2"), ("someone/other", "main"), ("../etc", "main")])
def test_what_the_hub_does_not_have_is_said(hub: Hub, name: str, revision: str) -> None:
    with pytest.raises(DownloadError, match=f"the hub did not give {name} at {revision}"):
        fetch(name, "checkpoint", revision, endpoint=hub.url)


def test_no_hub_at_all_is_said() -> None:
    with pytest.raises(DownloadError, match="the hub did not give someone/model"):
        fetch("someone/model", "checkpoint", endpoint="http://127.0.0.1:9")
