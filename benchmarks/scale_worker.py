"""Run one Celery worker whose image model draws tiny pictures at once; everything else in it is the real worker's.

    python -m benchmarks.scale_worker FILE [--queues cpu,gpu]

At its end it writes to FILE, as JSON, the database queries by stage of the preparation and its peak memory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import peak_memory

PEAKS: dict[str, int] = {}  # memory so far when a stage's last work but one had ended
TILES = 8  # a side, each of one colour


def picture(text: str, seed: int, arm: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture that no other prompt, seed or arm has: uint8 (H, W, 3); size: pixels, rows first."""
    digest = hashlib.sha256(f"{arm}\n{seed}\n{text}".encode()).digest()
    tiles = np.random.default_rng(list(digest)).integers(0, 256, (TILES, TILES, 3), np.uint8)
    rows, columns = (np.arange(side) * TILES // side for side in size)
    return np.ascontiguousarray(tiles[rows][:, columns])


def draw(
    pipeline: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    arms: Mapping[str, Any],
    *,
    steps: int,
    scheduler: str,
    batch_size: int,
    height: int,
    width: int,
    progress: Callable[[int, int], None],
    on_picture: Callable[[str, int, NDArray[np.uint8]], None],
    measure_strength: int = 0,
) -> Any:
    """Stand in for ``generate_within_memory``: the same calls, records and provenance, without the network."""
    from evenhand.generation.provenance import provenance_of
    from evenhand.generation.schedule import build_scheduler
    from evenhand.generation.trajectory import Generated

    assert not measure_strength
    size, evaluations = (height, width), len(prompts) * len(arms) * steps
    images = {
        name: np.stack([picture(text, seed, name, size) for text, seed in zip(prompts, seeds, strict=True)])
        for name in arms
    }
    for name, pictures in images.items():
        for place, pixels in enumerate(pictures):
            on_picture(name, place, pixels)
    progress(evaluations, evaluations)
    built = build_scheduler(scheduler, pipeline.scheduler.config, steps)
    return Generated(images, evaluations, provenance_of(pipeline, built, scheduler, steps, size, batch_size))


def use_drawn_pictures() -> None:
    """Let this process draw where it would run the network."""
    from evenhand.generation import memory

    memory.generate_within_memory = draw  # type: ignore[assignment]


def count_queries() -> dict[str, Counter[str]]:
    """Count this process's statements by stage from now on; those between two batches count for the earlier one's."""
    from django.db import connections
    from django.db.backends.signals import connection_created

    from evenhand.studies.models import Batch, Stage
    from evenhand.studies.work import queue

    counts: dict[str, Counter[str]] = defaultdict(Counter)
    label = [""]
    names: dict[int, str] = {}  # of stages: read here, because a stage that is kept would spare the worker its query
    run = queue.run

    def counted(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        counts[label[0]][sql] += 1
        return execute(sql, params, many, context)

    def labelled(item: Any, handler: Any) -> bool:
        if label[0]:
            PEAKS[label[0]] = peak_memory()
        label[0] = "others"
        if isinstance(item, Batch):
            if item.stage_id not in names:
                names[item.stage_id] = Stage.objects.values_list("name", flat=True).get(pk=item.stage_id)
            label[0] = names[item.stage_id]
        return run(item, handler)

    def begin(connection: Any, **_: Any) -> None:
        if counted not in connection.execute_wrappers:
            connection.execute_wrappers.append(counted)

    queue.run = labelled
    connection_created.connect(begin, weak=False)
    connections.close_all()
    return counts


def main() -> None:
    """Work until told to end, then write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--queues", default="cpu,gpu")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "evenhand.config.settings")
    import django

    django.setup()
    from evenhand.config.celery import app

    use_drawn_pictures()
    counts = count_queries()
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    try:
        app.worker_main(["worker", "--pool=solo", f"--queues={options.queues}", *quiet])
    finally:
        result = {"queries": counts, "peak_memory": peak_memory(), "peaks": PEAKS}
        options.file.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
