"""Make a study whose pictures take a while, run it undisturbed, and compare its pictures with a disturbed run's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from evenhand.studies.drafts import create_study
from evenhand.studies.models import Batch, Image, Stage, Study
from tests.helpers.factories import make_admin, make_prompt_set, small_configuration
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import ONE_THREAD
from tests.helpers.stored import image_path

SIZE = {"steps": 8, "subset_size": 96, "per_stratum": 16, "practice_trials": 1, "attention_checks": 2}
SMALL = {"steps": 4, "subset_size": 48, "per_stratum": 8}  # where the pictures are not all that goes on
MAKING = ("baseline", "arms")  # stages that make pictures

Pictures = dict[str, str]  # SHA-256 of a file, by kind, prompt, arm and seed


def draft(name: str, **changes: Any) -> Study:
    """Write a draft over scene prompts; in every database it gets the same pictures."""
    configuration = small_configuration(**(SIZE | changes))
    prompt_set = make_prompt_set(max(60, 2 * configuration.subset_size), name=f"Scenes of {name}")
    owner = make_admin(f"owner-of-{name}".lower().replace(" ", "-"))
    return create_study(owner=owner, name=name, prompt_set=prompt_set, configuration=configuration)


def pictures_of(study: Study) -> Pictures:
    """Return the recorded pictures of a study's prompts; check pairs' damaged copies are among them."""
    images = Image.objects.filter(prompt__prompt_set=study.prompt_set, state=Image.State.DONE)
    rows = images.values_list("kind", "prompt__index", "arm__fingerprint", "seed", "sha256").order_by("pk")
    found: Pictures = {}
    for kind, prompt, arm, seed, sha256 in rows:
        key = f"{kind} of prompt {prompt} by {arm or 'none'} with seed {seed}"
        if kind == Image.Kind.ALTERED:
            key += f" {sha256}"  # several copies of one picture may be damaged in several ways
        found[key] = sha256
    return found


def reference(folder: Path, **changes: Any) -> Pictures:
    """Return the pictures of an undisturbed run, made in a process and an installation of its own; kept in a file."""
    configuration = small_configuration(**(SIZE | changes))
    path = folder / f"{configuration.sha256}.json"
    if not path.exists():
        environment = os.environ | ONE_THREAD | {
            "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
            "EVENHAND_VAR": str(folder / f"undisturbed-{configuration.sha256[:8]}"),
        }  # fmt: skip
        for name in ("DATABASE_URL", "CELERY_BROKER_URL", "EVENHAND_TEST_SQLITE"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "tests.helpers.faults.undisturbed", json.dumps(changes), str(path)]
        subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=True, capture_output=True)
    return json.loads(path.read_text())


def differences(expected: Pictures, study: Study) -> Iterator[str]:
    """Compare a study's pictures with an undisturbed run's, by their records and by the bytes of their files."""
    found = pictures_of(study)
    for key in sorted(expected.keys() - found.keys()):
        yield f"{key} is missing"
    for key in sorted(found.keys() - expected.keys()):
        yield f"{key} is too many"
    for key in sorted(expected.keys() & found.keys()):
        if expected[key] != found[key]:
            yield f"{key} has other bytes"
    for key, sha256 in found.items():
        path = image_path(sha256)
        if not path.exists():
            yield f"the file of {key} is missing"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"the file of {key} is damaged"


def repeated(study: Study) -> Iterator[str]:
    """Find pictures that were recorded more than once, and files that no picture's record names."""
    images = Image.objects.filter(prompt__prompt_set=study.prompt_set)
    for place, count in Counter(images.values_list("kind", "prompt", "arm", "recipe", "seed", "sha256")).items():
        if count > 1:
            yield f"{place} was recorded {count} times"
    known = set(Image.objects.values_list("sha256", flat=True))
    for path in sorted(Path(settings.MEDIA_ROOT).glob("??/??/*.png")):
        if path.stem not in known:
            yield f"{path.name} has no record"


def check(outcome: Outcome, study: Study, expected: Pictures) -> None:
    """Check a prepared study's pictures, and count what the faults cost."""
    study.refresh_from_db()
    state = [] if study.state == Study.State.READY else [f"{study.state}: {list(failures(study))}"]
    outcome.expect("the study got ready by itself", state)
    outcome.expect("every picture is there once", repeated(study))
    outcome.expect("bytes equal those of an undisturbed run", differences(expected, study))
    batches = Batch.objects.filter(stage__study=study)
    outcome.work |= {
        "pictures": len(pictures_of(study)),
        "batches": batches.count(),
        "attempts": sum(batches.values_list("attempts", flat=True)),
        "outages waited out": sum(batches.values_list("outages", flat=True)),
        "unfinished files": sum(1 for _ in Path(settings.MEDIA_ROOT).glob("??/??/*.tmp")),
    }


def failures(study: Study) -> Iterator[str]:
    """Say what has failed of a preparation."""
    for stage in Stage.objects.filter(study=study).exclude(error=""):
        yield f"{stage.name} is {stage.state}: {stage.error}"


def ended(study: Study) -> bool:
    """Whether a preparation is over: the study is ready, or a stage has failed."""
    failed = Stage.objects.filter(study=study, state=Stage.State.FAILED).exists()
    return failed or not Study.objects.filter(pk=study.pk, state=Study.State.PREPARING).exists()


def being_made(study: Study) -> bool:
    """Whether a worker is making pictures of a study just now."""
    return Batch.objects.filter(stage__study=study, state=Batch.State.LEASED, stage__name__in=MAKING).exists()
