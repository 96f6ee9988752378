"""Restart, crash, cut off, empty and silence PostgreSQL and Redis while workers make pictures and people rate."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping

import redis

from evenhand.studies.pipeline import stages
from tests.helpers.faults import pictures, raters
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import Moments, Place, asked

KIND = "services broken"
SILENT_FOR = 5.0  # seconds: longer than a lease, and than a client waits for the broker
PREPARES_WITHIN = 20.0  # seconds, although the broker is silent

Faults = Mapping[str, Callable[[], object]]


def faults_of(place: Place) -> Faults:
    """Return everything that is done to the two services."""
    database, broker = place.postgres, place.redis
    assert database is not None
    assert broker is not None
    return {
        "PostgreSQL restarted": lambda: database.restart(database.RESTART),
        "connections cut": database.cut_connections,
        "Redis emptied": lambda: redis.Redis.from_url(broker.url).flushall(),
        "PostgreSQL crashed": lambda: database.restart(database.CRASH),
        "Redis restarted": lambda: broker.restart(broker.RESTART),
        "Redis silent": lambda: broker.silence(SILENT_FOR),
        "PostgreSQL silent": lambda: database.silence(SILENT_FOR),
    }


def run(
    place: Place, times: int, seed: int, *, trials: int = 16, pause: tuple[float, float] = (1, 5), limit: float = 400,
) -> Outcome:  # fmt: skip
    """Inject ``times`` faults, each kind in turn, while two workers make pictures and 16 people rate."""
    expected = pictures.reference(place.folder.parent, **pictures.SMALL)
    outcome = Outcome(KIND, place.name)
    start = time.monotonic()
    rated = raters.open_to_raters("Rated", trials)
    outcome.expect("a preparation starts although the broker is silent", _start_in_silence(place))
    study = pictures.Study.objects.get(name="Prepared")
    done: Counter[str] = Counter()
    rounds = itertools.cycle(faults_of(place).items())
    moments = Moments(random.Random(seed), 0.5, 4)
    with place.tended():
        web, url = place.start_web()
        workers = [place.start_worker() for _ in range(2)]
        place.wait_for_web(url)
        crowd = raters.come(rated, url, seed, pause)

        def inject() -> None:
            if sum(done.values()) < times and moments.come():
                name, action = next(rounds)
                action()
                done[name] += 1
                moments.begin()

        over = place.wait(lambda: crowd.over() and pictures.ended(study), limit, inject)
        crowd.leave()
        outcome.work["workers started"] = sum(kept.starts for kept in workers)
        outcome.work["masters started"] = web.starts
    outcome.faults = dict(done)
    outcome.expect("the run ended in time", [] if over else [place.ends_of_logs()])
    count = sum(done.values())
    outcome.expect(f"{times} faults came before the end", [] if count == times else [f"only {count}"])
    asked(lambda: study.refresh_from_db(), None)  # this process's own connection may have been cut
    pictures.check(outcome, study, expected)
    raters.check(outcome, crowd)
    outcome.seconds = time.monotonic() - start
    return outcome


def _start_in_silence(place: Place) -> list[str]:
    """Begin a study's preparation while Redis accepts connections and answers nothing."""
    assert place.redis is not None
    study = pictures.draft("Prepared", **pictures.SMALL)
    place.redis.pause()
    begin = time.monotonic()
    stages.prepare(study)
    took = time.monotonic() - begin
    place.redis.resume()
    return [f"it took {took:.0f} s"] if took > PREPARES_WITHIN else []
