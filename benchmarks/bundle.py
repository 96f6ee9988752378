"""Measure a study's bundle: writing, verifying and replicating it, with pictures of 512×512 pixels.

    python -m benchmarks.bundle [--pairs 60 300] [--json FILE]

The pictures are noise, the largest that such pictures can be as PNG. Each step runs in a process of its own, over
SQLite in a temporary folder, with 17 evaluators of 30 ratings each. A few minutes and 2 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import alone, machine, peak_memory

SIDE = 512  # pixels
EVALUATORS, TRIALS = 17, 30


def _timed(var: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a step with the application set up; return its result, seconds and peak memory above the start, in bytes."""
    os.environ |= {"EVENHAND_VAR": var, "DJANGO_SETTINGS_MODULE": "evenhand.config.settings"}
    os.environ.pop("DATABASE_URL", None)
    import django

    django.setup()
    start = time.perf_counter()
    result = work()
    return result | {"seconds": time.perf_counter() - start, "peak_memory": peak_memory()}


def fill(var: str, pairs: int) -> dict[str, Any]:
    """Make a closed study with so many pairs in two comparisons, rated by everybody."""
    return _timed(var, lambda: _fill(pairs))


def _fill(pairs: int) -> dict[str, Any]:
    import numpy as np
    from django.core.management import call_command

    from evenhand.studies.lifecycle import close_study, open_study
    from evenhand.studies.models import Trial
    from evenhand.studies.rating.answers import Answer, store_answer
    from evenhand.studies.rating.enrolment import consent, enrol
    from tests.helpers.factories import make_ready_study

    call_command("migrate", verbosity=0)
    rng = np.random.default_rng(0)
    study = make_ready_study(
        name="Measured",
        draw=lambda _prompt, _arm: rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
        per_stratum=pairs // 6,
        trials_per_evaluator=TRIALS,
        quota=EVALUATORS,
    )
    open_study(study)
    for _ in range(EVALUATORS):
        person = enrol(study)
        consent(person)
        for trial in Trial.objects.filter(booklet__evaluator=person).order_by("position"):
            store_answer(person, Answer(trial.public_id, int(rng.integers(-2, 3)), uuid.uuid4(), 4000, None, {}))
    close_study(study)
    return {}


def export(var: str, target: str) -> dict[str, Any]:
    """Write the bundle as a folder or a zip file."""
    return _timed(var, lambda: _export(Path(target)))


def _export(target: Path) -> dict[str, Any]:
    from evenhand.studies.bundle import writing
    from evenhand.studies.models import Study

    collected = writing.export(Study.objects.get(), target)
    return {"bytes": collected.size, "files": len(collected.entries)}


def stream(var: str) -> dict[str, Any]:
    """Stream the bundle as the console does, without keeping it."""
    return _timed(var, _stream)


def _stream() -> dict[str, Any]:
    from evenhand.studies.bundle.writing import Download
    from evenhand.studies.models import Study

    start = time.perf_counter()
    download = Download(Study.objects.get(), anonymous=False, largest=2**40)
    before = time.perf_counter() - start
    return {"seconds_before_the_first_byte": before, "bytes": sum(map(len, download))}


def replicate(var: str, bundle: str) -> dict[str, Any]:
    """Open a study from the bundle in an installation of its own."""
    return _timed(var, lambda: _replicate(Path(bundle)))


def _replicate(bundle: Path) -> dict[str, Any]:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    from evenhand.studies.bundle.replicating import replicate

    call_command("migrate", verbosity=0)
    replicate(bundle, name="Again", owner=get_user_model().objects.create_user("bella"))
    return {}


# What the carried program needs by itself, told by a parent that waits for it.
WAIT = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run([sys.executable, "-I", "-S", *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
print(code, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def verify(program: Path, bundle: Path) -> dict[str, Any]:
    """Verify a bundle with the program that it carries."""
    command = [sys.executable, "-c", WAIT, str(program), str(bundle)]
    code, seconds, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"status": int(code), "seconds": float(seconds), "peak_memory": int(memory)}


def measure(pairs: int) -> dict[str, Any]:
    """Measure every step with a study of so many pairs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        var, other = str(folder / "var"), str(folder / "other")
        alone(fill, var, pairs)
        found = {"zip": alone(export, var, str(folder / "bundle.zip"))}
        found["zip"]["size"] = (folder / "bundle.zip").stat().st_size
        found["folder"] = alone(export, var, str(folder / "bundle"))
        found["stream"] = alone(stream, var)
        for form, path in (("zip", folder / "bundle.zip"), ("folder", folder / "bundle")):
            found[f"verify_{form}"] = verify(folder / "bundle" / "verify_bundle.py", path)
        found["replicate"] = alone(replicate, other, str(folder / "bundle.zip"))
    return found


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[60, 300], help="multiples of 6")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    result = {"machine": machine(), "pairs": {str(pairs): measure(pairs) for pairs in options.pairs}}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
