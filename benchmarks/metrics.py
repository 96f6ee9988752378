"""Measure the features of pictures beside torch-fidelity: the same pictures, network, weights, batches and threads.

    python -m benchmarks.metrics [--pictures 96 384] [--rounds 3] [--only PART …] [--json FILE]

The pictures are drawn shapes under noise, 512×512 pixels, half of them JPEG and half PNG; Inception-V3 has random
weights, which take as long as trained ones. Either side reads the pictures, computes both outputs of the network and
fits the Gaussian of the first, in a fresh process. The first set is measured in rounds that alternate; the others once,
for memory. Beside that the networks alone take turns on one thread, in processor time, which other work on the machine
changes little. On two cores about six minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.machine import alone, machine, peak_memory
from tests.helpers.random_inception import LAYERS, reference_network, write_inception

SIDE, BATCH = 512, 32
ALONE, TURNS = 16, 5  # pictures of a batch and rounds, of the networks alone


def write_pictures(folder: Path, count: int, seed: int = 0) -> None:
    """Draw shapes under noise; every second picture is a JPEG file, the others are PNG."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        image = Image.new("RGB", (SIDE, SIDE), tuple(map(int, rng.integers(0, 256, 3))))
        draw = ImageDraw.Draw(image)
        for _ in range(12):
            left, top = map(int, rng.integers(0, SIDE, 2))
            width, height = map(int, rng.integers(16, SIDE // 2, 2))
            form = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            form((left, top, left + width, top + height), fill=tuple(map(int, rng.integers(0, 256, 3))))
        noisy = np.asarray(image, np.float32) + rng.normal(0, 12, (SIDE, SIDE, 1)).astype(np.float32)
        drawn = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        drawn.save(folder / (f"{i:05}.jpg" if i % 2 else f"{i:05}.png"), quality=90)  # PNG has no quality


# ------------------------------------------------------------------------------ the two sides, in fresh processes


def ours(pictures: str, weights: str, target: str) -> dict[str, Any]:
    """Extract features into files, and fit the Gaussian."""
    from evenhand.metrics.extraction import extract
    from evenhand.metrics.inception import load_inception
    from evenhand.metrics.pictures import pictures_in

    network, named = load_inception(Path(weights)), pictures_in(Path(pictures))
    network.embed([network.prepare(pixels) for pixels in _first(pictures)])
    return _measured(lambda: extract(named, network, Path(target), batch_size=BATCH).gaussian.count)


def torch_fidelity(pictures: str, weights: str, target: str) -> dict[str, Any]:
    """Do the same with torch-fidelity, and write the first output."""
    from torch_fidelity.metric_fid import fid_features_to_statistics
    from torch_fidelity.utils import create_feature_extractor, extract_featuresdict_from_input_id

    multiprocessing.set_start_method("fork", force=True)  # of its reading processes, Linux's own; here it is "spawn"
    options = {"cuda": False, "verbose": False, "batch_size": BATCH}
    network = create_feature_extractor("inception-v3-compat", LAYERS, feature_extractor_weights_path=weights, **options)
    with torch.no_grad():
        network(torch.from_numpy(np.stack(_first(pictures))).permute(0, 3, 1, 2).contiguous())

    def work() -> int:
        found = extract_featuresdict_from_input_id(1, network, input1=pictures, **options)
        fid_features_to_statistics(found["2048"])
        np.save(Path(target) / "theirs.npy", found["2048"].numpy())
        return len(found["2048"])

    return _measured(work)


def _first(pictures: str) -> list[np.ndarray]:
    """Read a batch, with which a network's buffers are made before the clock starts."""
    return [np.asarray(Image.open(path)) for path in sorted(Path(pictures).iterdir())[:BATCH]]


def _measured(work: Callable[[], int]) -> dict[str, Any]:
    """Run the work, which returns the number of pictures; processor seconds count the processes that read for it."""
    start, processor = time.perf_counter(), sum(os.times()[:4])
    count = work()
    seconds, processor = time.perf_counter() - start, sum(os.times()[:4]) - processor
    return {
        "pictures": count,
        "pictures_per_second": count / seconds,
        "processor_seconds_per_picture": processor / count,
        "peak_memory": peak_memory(),
        "load": os.getloadavg()[0],
    }


def networks(pictures: str, weights: str, rounds: int) -> dict[str, Any]:
    """Compare the two networks on one batch and one thread, with our scaling beside theirs, which is in the network."""
    from evenhand.metrics.inception import load_inception

    torch.set_num_threads(1)
    batch = _first(pictures)[:ALONE]
    stacked = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous()
    network, theirs = load_inception(Path(weights)), reference_network(Path(weights))
    calls = {
        "ours": lambda: network.embed([network.prepare(pixels) for pixels in batch]),
        "torch_fidelity": torch.inference_mode()(lambda: theirs(stacked)),
    }
    seconds: dict[str, list[float]] = {side: [] for side in calls}
    for turn in range(rounds + 1):
        for side, call in calls.items():
            start = time.process_time()
            call()
            if turn:  # the first makes the buffers
                seconds[side].append((time.process_time() - start) / ALONE)
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["torch_fidelity"], strict=True)]
    return {
        "processor_seconds_per_picture": {side: median(each) for side, each in seconds.items()},
        "ratio": median(ratios),
        "ratios": ratios,
    }


def reference(pictures: str, weights: str, cache: str) -> dict[str, Any]:
    """Time a reference's statistics that are computed, and again where they are kept."""
    from evenhand.metrics.inception import load_inception
    from evenhand.metrics.reference import reference_statistics

    network, seconds = load_inception(Path(weights)), []
    for was_cached in (False, True):
        start = time.perf_counter()
        found = reference_statistics(Path(pictures), network, Path(cache), batch_size=BATCH)
        seconds.append(time.perf_counter() - start)
        assert found.was_cached is was_cached
    return {"pictures": found.gaussian.count, "seconds_computed": seconds[0], "seconds_cached": seconds[1]}


# ------------------------------------------------------------------------------ all of it

PARTS = ("networks", "sets", "reference")
SIDES = {"ours": ours, "torch_fidelity": torch_fidelity}


def measure_sets(folder: Path, weights: str, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure both sides over the first set in alternating rounds, and once over every other set."""
    found: dict[str, Any] = {}
    for size in sizes:
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for turn in range(rounds if size == sizes[0] else 1):
            for side in sorted(SIDES, reverse=turn % 2 == 1):
                runs[side].append(alone(SIDES[side], str(folder / f"{size}"), weights, str(folder)))
                print(size, side, json.dumps(runs[side][-1]), flush=True)
        theirs = np.load(folder / "theirs.npy")
        difference = float(np.abs(np.load(folder / "pool.npy") - theirs).max() / np.abs(theirs).max())
        found[f"{size}"] = {"runs": runs, "largest_difference": difference, **_ratios(runs)}
    return found


def _ratios(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of each side, and the median of the rounds' ratios; above 1 where ours is faster or larger."""
    pairs = list(zip(runs["ours"], runs["torch_fidelity"], strict=True))
    return {
        "pictures_per_second": {side: median(run["pictures_per_second"] for run in runs[side]) for side in runs},
        "peak_memory": {side: median(run["peak_memory"] for run in runs[side]) for side in runs},
        "ratio_of_speed": median(a["pictures_per_second"] / b["pictures_per_second"] for a, b in pairs),
        "ratio_of_processor_time": median(
            b["processor_seconds_per_picture"] / a["processor_seconds_per_picture"] for a, b in pairs
        ),
        "ratio_of_memory": median(a["peak_memory"] / b["peak_memory"] for a, b in pairs),
    }


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[96, 384], help="sizes of the sets")
    parser.add_argument("--rounds", type=int, default=3, help="of the first set")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path, help="write the numbers to this file; other parts' numbers in it are kept")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    result |= {"machine": machine(), "batch": BATCH}
    result["machine"]["versions"]["torch-fidelity"] = version("torch-fidelity")
    with tempfile.TemporaryDirectory(prefix="evenhand-benchmark-") as name:
        folder = Path(name)
        weights = str(write_inception(folder / "weights.pth"))
        for size in options.pictures:
            write_pictures(folder / f"{size}", size)
        first = str(folder / f"{options.pictures[0]}")
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "networks": lambda: alone(networks, first, weights, TURNS),
            "sets": lambda: measure_sets(folder, weights, options.pictures, options.rounds),
            "reference": lambda: alone(reference, first, weights, str(folder / "cache")),
        }
        for part in options.only:
            result[part] = parts[part]()
            print(part, json.dumps(result[part], indent=1), flush=True)
            if options.json:
                options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
