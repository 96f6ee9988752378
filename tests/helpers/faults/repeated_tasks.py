"""Deliver tasks twice, late and out of order, and let workers come back after another has taken their work."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections import Counter

import redis
from celery import current_app

from evenhand.studies.models import Batch, Study
from evenhand.studies.pipeline import stages
from evenhand.studies.work.notify import TASK
from tests.helpers.faults import pictures
from tests.helpers.faults.outcome import Outcome
from tests.helpers.faults.place import Moments, Place, asked

KIND = "tasks repeated"
STOPPED_FOR = 6.0  # seconds, longer than a lease
AFTERWARDS = 8.0  # seconds in which messages that come too late are received


def run(place: Place, times: int, seed: int, limit: float = 300) -> Outcome:
    """Send ``times`` messages twice with random delays, shuffle those that wait, stop workers beyond their leases."""
    expected = pictures.reference(place.folder.parent, **pictures.SMALL)
    outcome = Outcome(KIND, place.name)
    start = time.monotonic()
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    moments, stops = Moments(rng, 0.1, 1), Moments(rng, 5, 10)
    study = pictures.draft("Repeated tasks", **pictures.SMALL)
    stages.prepare(study)

    def confuse() -> None:
        if done["message sent twice"] < times and moments.come():
            _send_twice(rng)
            done["message sent twice"] += 1
            done["queue shuffled"] += _shuffle(place, rng)
        few = done["worker stopped beyond its lease"] < max(1, times // 5)
        if few and asked(lambda: pictures.being_made(study), False) and stops.come():
            _stop_a_while(place)
            done["worker stopped beyond its lease"] += 1
            stops.begin()

    with place.tended():
        for _ in range(2):
            place.start_worker()
        over = place.wait(lambda: pictures.ended(study), limit, confuse)
        before = _state(study)
        for _ in range(times):
            _send_twice(rng)
        done["message after the end"] += 2 * times
        end = time.monotonic() + AFTERWARDS
        place.wait(lambda: time.monotonic() > end, 2 * AFTERWARDS)
        after = _state(study)
        outcome.work["workers started"] = sum(kept.starts for kept in place.kept)
    outcome.faults = {name: count for name, count in done.items() if count}
    outcome.expect("the run ended in time", [] if over else [place.ends_of_logs()])
    late = [] if before == after else [f"{before} became {after}"]
    outcome.expect("messages after the end change nothing", late)
    pictures.check(outcome, study, expected)
    outcome.seconds = time.monotonic() - start
    return outcome


def _send_twice(rng: random.Random) -> None:
    """Send one message twice under one id, each to be received after a delay of its own."""
    queue, number = rng.choice(("cpu", "gpu")), str(uuid.UUID(int=rng.getrandbits(128)))
    for _ in range(2):
        delay = rng.choice((None, rng.uniform(0, 3)))
        current_app.send_task(TASK, kwargs={"queue": queue}, queue=queue, task_id=number, countdown=delay)


def _shuffle(place: Place, rng: random.Random) -> int:
    """Put the messages that wait in Redis into another order; return how many queues had more than one."""
    if place.redis is None:
        return 0
    shuffled = 0
    with redis.Redis.from_url(place.redis.url) as client:
        for queue in ("cpu", "gpu"):
            waiting = client.lrange(queue, 0, -1)
            rng.shuffle(waiting)
            if len(waiting) > 1:
                client.pipeline().delete(queue).rpush(queue, *waiting).execute()
                shuffled += 1
    return shuffled


def _stop_a_while(place: Place) -> None:
    """Stop the worker that has run longest, until another may have taken its work; then let it go on."""
    worker = max(place.kept, key=lambda kept: kept.age)
    assert worker.process is not None
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(STOPPED_FOR)
    worker.process.send_signal(signal.SIGCONT)


def _state(study: Study) -> list[tuple[int, str, int]]:
    """Return what no message may change any more: each batch's state and attempts."""
    batches = Batch.objects.filter(stage__study=study).order_by("pk")
    return list(batches.values_list("pk", "state", "attempts"))
