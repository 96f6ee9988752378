"""Kill processes of the web server, and its master, while people rate."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress

from tests.helpers.faults import raters
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import Moments, Place

KIND = "web server killed"
MASTER_EVERY = 5  # each fifth kill is the master's, from the third on


def run(
    place: Place, times: int, seed: int, *, people: int = raters.PEOPLE, trials: int = 16,
    pause: tuple[float, float] = (1, 4), gap: tuple[float, float] = (0.3, 2.5), limit: float = 300,
) -> Outcome:  # fmt: skip
    """Kill ``times`` times with SIGKILL while people rate; gunicorn replaces its workers, and this the master.

    pause: seconds before each answer, at least and at most. gap: the same between kills.
    """
    outcome = Outcome(KIND, place.name)
    start = time.monotonic()
    study = raters.open_to_raters("Killed servers", trials, people)
    rng = random.Random(seed)
    kills: Counter[str] = Counter()
    moments = Moments(rng, *gap)
    with place.tended():
        web, url = place.start_web()
        place.wait_for_web(url)
        crowd = raters.come(study, url, seed, pause, people)

        def kill() -> None:
            if sum(kills.values()) >= times or not moments.come():
                return
            if sum(kills.values()) % MASTER_EVERY == 2:
                web.kill()
                kills["SIGKILL to gunicorn's master"] += 1
            elif workers := web.children():
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(workers), signal.SIGKILL)
                    kills["SIGKILL to a worker of gunicorn"] += 1
            moments.begin()

        over = place.wait(crowd.over, limit, kill)
        crowd.leave()
        outcome.work["masters started"] = web.starts
    outcome.faults = dict(kills)
    outcome.expect("the run ended in time", [] if over else [place.ends_of_logs()])
    count = sum(kills.values())
    outcome.expect(f"{times} kills came before the end", [] if count == times else [f"only {count}"])
    raters.check(outcome, crowd)
    outcome.seconds = time.monotonic() - start
    return outcome
