"""Keep the embedded broker's messages in files that are written whole or not at all.

kombu's own transport leaves half a file where the disk is full or a process is killed, and a worker that reads such a
file ends. A message carries no work, so that an unreadable one may be left out.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.encoding import str_to_bytes
from kombu.utils.json import dumps

WORK_QUEUES = ("cpu", "gpu")  # each has an exchange of its name

logger = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """kombu's channel over files; writing leaves no half a file, and reading goes on after one."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, payload)

    def _get(self, queue: str) -> Any:
        while True:  # whatever cannot be read has been removed
            try:
                return super()._get(queue)
            except ValueError as error:
                logger.warning("a message for “%s” could not be read, and is left out: %s", queue, error)

    def get_table(self, exchange: str) -> list[Any]:
        """Return the queues that are bound to an exchange.

        Where their file is not there or cannot be read, the queues of the work are still found by their names: else
        their messages would be dropped until a process binds them anew.
        """
        try:
            bound = super().get_table(exchange)
        except ValueError:
            bound = []
        return bound or [filesystem.exchange_queue_t(exchange, "", exchange)] * (exchange in WORK_QUEUES)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        bound = [list(each) for each in self.get_table(exchange)]
        new = [routing_key or "", pattern or "", queue or ""]
        if new not in bound:
            self.control_folder.mkdir(exist_ok=True)
            _write(self._exchange_file(exchange), [new, *bound])


def _write(path: Path, content: Any) -> None:
    """Write a file whole or not at all. Raises ``ChannelError``."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4()}.tmp")  # no name of a message: nobody reads it
    try:
        temporary.write_bytes(str_to_bytes(dumps(content)))
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ChannelError(f"{path} cannot be written: {error.strerror}") from error


class Transport(filesystem.Transport):
    """kombu's transport over files, with these channels."""

    Channel = Channel
