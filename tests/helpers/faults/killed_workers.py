"""Kill workers at random moments while they prepare a study, most of them while they make its pictures."""

from __future__ import annotations

import random
import time
from collections import Counter

from evenhand.studies.models import Batch
from evenhand.studies.pipeline import stages
from tests.helpers.faults import pictures
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import Moments, Place, asked

KIND = "workers killed"
WORKERS = 2


def run(place: Place, times: int, seed: int, limit: float = 400) -> Outcome:
    """Kill workers ``times`` times while pictures are made, and once in each other stage that is seen to run.

    The signal is SIGKILL; who is killed is started again at once.
    """
    expected = pictures.reference(place.folder.parent)
    outcome = Outcome(KIND, place.name)
    start = time.monotonic()
    study = pictures.draft("Killed workers")
    stages.prepare(study)
    kills: Counter[str] = Counter()
    moments = Moments(random.Random(seed), 0.1, 3)

    def running() -> str:
        """Return the stage that a worker works on; empty where none does."""
        leased = Batch.objects.filter(stage__study=study, state=Batch.State.LEASED)
        return leased.values_list("stage__name", flat=True).first() or ""

    def kill() -> None:
        stage = asked(running, "")
        among_pictures = stage in pictures.MAKING
        if stage and ((moments.come() and made(kills) < times) if among_pictures else not kills[stage]):
            oldest = max(place.kept, key=lambda kept: kept.age)  # the other one still loads, or has just begun
            oldest.kill()
            kills[stage] += 1
            moments.begin()

    with place.tended():
        for _ in range(WORKERS):
            place.start_worker()
        over = place.wait(lambda: pictures.ended(study), limit, kill)
        outcome.work["workers started"] = sum(kept.starts for kept in place.kept)
    outcome.faults = {f"SIGKILL in stage {stage}": count for stage, count in kills.items()}
    outcome.expect("the run ended in time", [] if over else [place.ends_of_logs()])
    outcome.expect(f"{times} kills came while pictures were made", [] if made(kills) == times else [f"{made(kills)}"])
    pictures.check(outcome, study, expected)
    outcome.seconds = time.monotonic() - start
    return outcome


def made(kills: Counter[str]) -> int:
    """Return how many kills came while pictures were made."""
    return sum(kills[stage] for stage in pictures.MAKING)
