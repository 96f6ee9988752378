"""Fill the disk again and again while workers make pictures and people rate, and enlarge it each time."""

from __future__ import annotations

import random
import re
import time

from evenhand.studies.pipeline import stages
from tests.helpers.faults import pictures, raters
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import Moments, Place, asked

KIND = "disk full"
FULL_FOR = 4.0  # seconds
COMPLAINTS = re.compile(r"No space left on device|database or disk is full|disk I/O error")


def run(
    place: Place, times: int, seed: int, *, trials: int = 10, pause: tuple[float, float] = (1, 4), limit: float = 300,
) -> Outcome:  # fmt: skip
    """Fill the disk of ``place.disk`` a quarter as often as ``times`` says, for some seconds each.

    The first time may come at any moment, the others come while pictures are made.
    """
    disk = place.disk
    assert disk is not None
    expected = pictures.reference(place.folder.parent, **pictures.SMALL)
    outcome = Outcome(KIND, f"{place.name}, {disk.folder.name} on tmpfs")
    start = time.monotonic()
    rated = raters.open_to_raters("Rated", trials)
    study = pictures.draft("Prepared", **pictures.SMALL)
    stages.prepare(study)
    wanted, filled = max(1, times // 4), 0
    moments = Moments(random.Random(seed), 0.5, 2)  # seconds; an idle machine makes all pictures in some 15
    with place.tended():
        web, url = place.start_web()
        workers = [place.start_worker() for _ in range(2)]
        place.wait_for_web(url)
        crowd = raters.come(rated, url, seed, pause)

        def making() -> bool:
            return pictures.being_made(study)

        def fill() -> None:
            nonlocal filled
            if filled < wanted and (not filled or asked(making, False)) and moments.come():
                disk.fill()
                time.sleep(FULL_FOR)
                disk.enlarge()
                filled += 1
                moments.begin()

        over = place.wait(lambda: crowd.over() and pictures.ended(study), limit, fill)
        crowd.leave()
        outcome.work["workers started"] = sum(kept.starts for kept in workers)
        outcome.work["masters started"] = web.starts
    outcome.faults = {"disk full (ENOSPC)": filled}
    complaints = sum(len(COMPLAINTS.findall(log.read_text(errors="replace"))) for log in place.folder.glob("*.log"))
    outcome.work["lines of it in the logs"] = complaints
    outcome.expect("the run ended in time", [] if over else [place.ends_of_logs()])
    outcome.expect("the disk was full while something was written", [] if complaints else ["no log says so"])
    outcome.expect(f"{wanted} times came before the end", [] if filled == wanted else [f"only {filled}"])
    pictures.check(outcome, study, expected)
    raters.check(outcome, crowd)
    outcome.seconds = time.monotonic() - start
    return outcome
