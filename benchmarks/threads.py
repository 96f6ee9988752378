"""Measure processes that draw pictures at once, by how many threads each has and how these wait for each other.

    python -m benchmarks.threads [--processes N] [--rounds N] [--json FILE]

Every process draws the same prompts with the demo model: one alone, and several at once. The ways alternate within a
run; a round counts from the start of all processes' drawing to the end of the last.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from evenhand.config.threads import wait_briefly
from evenhand.studies.worker_processes import thread_share, usable_cores

PROMPTS, STEPS = 16, 8


def draw(threads: int, barrier: Barrier, done: Queue[float]) -> None:
    """Draw once unseen, then for the clock; tell the seconds."""
    import torch

    torch.set_num_threads(threads)
    from evenhand.demo.evaluate import CHECKPOINT
    from evenhand.demo.scenes import built_in_prompts
    from evenhand.generation.checkpoint import load_pipeline
    from evenhand.generation.guidance import ClassifierFree
    from evenhand.generation.trajectory import generate

    pipeline = load_pipeline(str(CHECKPOINT), device="cpu", dtype=torch.float32)
    prompts = built_in_prompts(PROMPTS)
    for seconds in (False, True):
        barrier.wait()
        begun = time.perf_counter()
        generate(pipeline, prompts, list(range(PROMPTS)), {"baseline": ClassifierFree(7.5)}, steps=STEPS)
        if seconds:
            done.put(time.perf_counter() - begun)


@dataclass(frozen=True)
class Way:
    """Processes at once, threads of each, and whether these wait as PyTorch's library does unasked, or briefly."""

    processes: int
    threads: int
    briefly: bool


def ways(processes: int) -> dict[str, Way]:
    """Return the ways to compare."""
    cores, share = usable_cores(), thread_share(processes)
    return {
        "one, busy": Way(1, cores, briefly=False),
        "one, brief": Way(1, cores, briefly=True),
        "all cores each, busy": Way(processes, cores, briefly=False),
        "all cores each, brief": Way(processes, cores, briefly=True),
        "a share each, busy": Way(processes, share, briefly=False),
        "a share each, brief": Way(processes, share, briefly=True),
    }


def seconds_of(way: Way) -> float:
    """Return the seconds of the slowest of a way's processes, which begin to draw at once."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS"):
        os.environ.pop(name, None)
    if way.briefly:
        wait_briefly()
    processes, threads = way.processes, way.threads
    context = multiprocessing.get_context("spawn")
    barrier, done = context.Barrier(processes), context.Queue()
    started = [context.Process(target=draw, args=(threads, barrier, done)) for _ in range(processes)]
    for process in started:
        process.start()
    slowest = max(done.get() for _ in started)
    for process in started:
        process.join()
    return slowest


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    compared = ways(options.processes)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    loads = []
    for _ in range(options.rounds):
        loads.append(os.getloadavg()[0])
        for name, way in compared.items():
            seconds[name].append(seconds_of(way))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rates = {name: PROMPTS * way.processes / medians[name] for name, way in compared.items()}
    result: dict[str, Any] = {
        "machine": machine(),
        "loads": loads,
        "work": {"prompts": PROMPTS, "steps": STEPS, "rounds": options.rounds},
        "ways": {name: asdict(way) for name, way in compared.items()},
        "seconds": seconds,
        "pictures_per_second": rates,
        "of_one_busy": {name: rate / rates["one, busy"] for name, rate in rates.items()},
    }
    for name, way in compared.items():
        shown = f"{name}: {way.processes} × {way.threads} threads, {medians[name]:.2f} s"
        print(f"{shown}, {rates[name]:.1f} pictures a second, {result['of_one_busy'][name]:.2f} times one alone, busy")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
