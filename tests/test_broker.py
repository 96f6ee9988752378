"""The embedded broker: messages in files, whole ones alone."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError

QUEUE = Queue("cpu", Exchange("cpu"), routing_key="cpu")


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Connection]:
    """A connection to a broker in files of its own, as the application's settings name one."""
    folders = {name: tmp_path / name for name in ("queue", "processed", "control")}
    for folder in folders.values():
        folder.mkdir()
    options = {
        "data_folder_in": str(folders["queue"]),
        "data_folder_out": str(folders["queue"]),
        "processed_folder": str(folders["processed"]),
        "control_folder": str(folders["control"]),
    }
    with Connection("filesystem://", transport_options=options) as connection:
        yield connection


def send(link: Connection, *texts: str) -> None:
    with link.Producer() as producer:
        for text in texts:
            producer.publish(text, exchange=QUEUE.exchange, routing_key="cpu", declare=[QUEUE], retry=False)


def received(link: Connection) -> list[Any]:
    found = []
    queue = QUEUE(link.channel())
    while (message := queue.get(no_ack=True)) is not None:
        found.append(message.payload)
    return found


def test_half_a_message_is_left_out_and_the_next_one_is_read(link: Connection, tmp_path: Path) -> None:
    send(link, "a", "b")
    for name, text in (("0_half.cpu.msg", '{"body": "bW'), ("1_empty.cpu.msg", ""), ("2_odd.cpu.msg", "\udcff")):
        (tmp_path / "queue" / name).write_bytes(text.encode(errors="surrogateescape"))
    assert sorted(received(link)) == ["a", "b"]
    assert list((tmp_path / "queue").iterdir()) == []


def test_an_empty_list_of_queues_loses_no_message(link: Connection, tmp_path: Path) -> None:
    (tmp_path / "control" / "cpu.exchange").touch()
    send(link, "a")
    assert received(link) == ["a"]


def test_a_queue_of_somebody_else_is_listed_once(link: Connection, tmp_path: Path) -> None:
    name = str(uuid.uuid4())  # the transport remembers for the process what is bound
    channel = link.channel()
    for queue in ("one", "two", "one"):
        Queue(f"{name}-{queue}", Exchange(name, "fanout"))(channel).declare()
    listed = json.loads((tmp_path / "control" / f"{name}.exchange").read_text())
    assert sorted(row[2] for row in listed) == [f"{name}-one", f"{name}-two"]


def test_what_cannot_be_written_leaves_nothing_behind(
    link: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(link, "a")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ChannelError, match="No space left"):
            send(link, "b")
    assert len(list((tmp_path / "queue").iterdir())) == 1
    assert received(link) == ["a"]
