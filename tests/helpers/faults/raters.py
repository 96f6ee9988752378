"""Let patient simulated evaluators rate over HTTP, and compare what was acknowledged with what is stored."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from django.db import connections

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Rating, Study, Trial
from evenhand.studies.procedure import ComprehensionQuestion
from evenhand.studies.rating import chain
from evenhand.studies.simulation.deciders import Population, Preference, enrol_simulated
from evenhand.studies.simulation.visits import SimulationError, Visitor, Walk
from tests.helpers.factories import make_ready_study
from tests.helpers.faults.outcome import Outcome

PEOPLE = 16
GIVES_UP_AFTER = 120  # seconds without an answer to one request
REPEATS = 0.1  # share of answers that arrive once more, and of old ones that arrive again late
QUESTIONS = (ComprehensionQuestion("What do you compare?", ("Sounds", "Pictures"), 1),)


def open_to_raters(name: str, trials: int, people: int = PEOPLE) -> Study:
    """Make a study of noise pictures, and open it: practice, questions, checks, repeats and a break are in it."""
    study = make_ready_study(
        name=name, draw=_noise, per_stratum=8, quota=people, trials_per_evaluator=trials, introduction=True,
        practice_trials=1, comprehension=QUESTIONS, attention_checks=2, repeats=1, break_every=10,
    )  # fmt: skip
    open_study(study)
    return study


def _noise(prompt: Any, arm: Any) -> np.ndarray:
    return np.random.default_rng([prompt.index, arm.pk]).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@dataclass
class PatientWalk(Walk):
    """Waits as the page does: an answer is sent until the server has told what became of it."""

    acknowledged: dict[str, dict[str, Any]] = field(default_factory=dict)  # answers by their keys
    repeated: int = 0  # answers that were sent although they had been acknowledged
    waits: int = 0  # attempts that got no answer, or an error of the server
    pause: tuple[float, float] = (0.0, 0.0)  # seconds before an answer, at least and at most

    def _post(self, what: str, data: Mapping[str, Any]) -> dict[str, Any]:
        if what == "comprehension/":
            data = {**data, "key": str(uuid.uuid4())}  # as the page's form
        if what != "rate/":
            return super()._post(what, data)
        rng = random.Random(str(data["key"]))
        time.sleep(rng.uniform(*self.pause))
        status = super()._post(what, data)
        self.acknowledged[str(data["key"])] = dict(data)
        if rng.random() < REPEATS:
            self._again(dict(data))
        if rng.random() < REPEATS:
            self._again(rng.choice(list(self.acknowledged.values())))
        return status

    def _again(self, data: Mapping[str, Any]) -> None:
        """Send an answer that was acknowledged: a copy that was delivered twice, or late."""
        self._body(self._send("POST", f"{self.visitor.path}rate/", data))
        self.repeated += 1

    def _send(
        self, method: str, path: str, data: Mapping[str, Any] | None = None, accept: str = "application/json"
    ) -> httpx.Response:
        deadline = time.monotonic() + GIVES_UP_AFTER
        while True:
            try:
                response = self.client.request(method, path, data=data, headers={"Accept": accept})
                if response.status_code < 500:
                    return response
                error = f"{response.status_code}"
            except httpx.TransportError as broken:
                error = repr(broken)
            self.waits += 1
            if time.monotonic() > deadline or self.stop.wait(random.uniform(0.2, 0.6)):
                raise SimulationError(f"{self.client.base_url} does not answer: {error}")


@dataclass
class Crowd:
    """People who rate at once, each in a thread of their own."""

    study: Study
    walks: list[PatientWalk]
    futures: list[Future[str]]
    pool: ThreadPoolExecutor
    stop: threading.Event

    def over(self) -> bool:
        """Whether everybody has come to an end."""
        return all(future.done() for future in self.futures)

    def leave(self) -> None:
        """Let everybody go, whether they are done or not."""
        self.stop.set()
        self.pool.shutdown(wait=True)


def come(study: Study, url: str, seed: int, pause: tuple[float, float], people: int = PEOPLE) -> Crowd:
    """Enrol the people, and let them begin. pause: seconds before an answer, at least and at most."""
    stop = threading.Event()
    visitors = Population(Preference((0.5, -0.5))).visitors(enrol_simulated(study, people), seed)
    walks = [
        PatientWalk(_client(url), visitor, number < people // 4, stop, pause=pause)  # a few load the pictures, too
        for number, visitor in enumerate(visitors)
    ]
    for walk in walks:
        _read_ahead(walk.visitor)
    pool = ThreadPoolExecutor(len(walks))
    return Crowd(study, walks, [pool.submit(_walk, walk) for walk in walks], pool, stop)


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=20, follow_redirects=False)


def _read_ahead(visitor: Visitor) -> None:
    """Let a decider read what it needs of the database while that answers."""
    visitor.decider.comprehension()


def _walk(walk: PatientWalk) -> str:
    with walk.client:
        try:
            return walk.to_the_end()
        finally:
            connections.close_all()


def check(outcome: Outcome, crowd: Crowd) -> None:
    """Check that everybody came to the end, and that the record holds what was acknowledged."""
    outcome.expect("everybody came to the end", _stranded(crowd))
    outcome.expect("every acknowledged answer is stored once, as it was sent", unlike(crowd))
    outcome.expect("slots and booklets add up", accounts(crowd.study))
    outcome.expect("the hash chains hold", map(str, chain.faults(crowd.study)))
    outcome.work |= {
        "answers acknowledged": sum(len(walk.acknowledged) for walk in crowd.walks),
        "answers sent again": sum(walk.repeated for walk in crowd.walks),
        "attempts that failed": sum(walk.waits for walk in crowd.walks),
    }


def _stranded(crowd: Crowd) -> Iterator[str]:
    for number, future in enumerate(crowd.futures):
        error = future.exception()
        if error is not None:
            yield f"person {number}: {error!r}"
        elif future.result() != "finished":
            yield f"person {number}: {future.result()}"


def unlike(crowd: Crowd) -> Iterator[str]:
    """Compare the answers that were acknowledged with the stored ones."""
    sent = {key: data for walk in crowd.walks for key, data in walk.acknowledged.items()}
    ratings = Rating.objects.filter(evaluator__study=crowd.study).select_related("trial")
    stored: dict[str, list[Rating]] = {}
    for rating in ratings:
        stored.setdefault(str(rating.key), []).append(rating)
    for key in stored.keys() - sent.keys():
        yield f"{key} is stored and was not acknowledged"
    for key, data in sent.items():
        found = [(str(each.trial.public_id), str(each.choice), str(each.elapsed_ms)) for each in stored.get(key, [])]
        if found != [(data["trial"], data["choice"], data["elapsed_ms"])]:
            yield f"{data} is stored as {found}"


def accounts(study: Study) -> Iterator[str]:
    """Find what does not add up among booklets, trials and slots, when everybody has finished."""
    held = Booklet.objects.filter(study=study).exclude(evaluator=None)
    numbers = Counter(held.values_list("number", flat=True))
    people = study.evaluators.count()
    if numbers != Counter(range(people)):
        yield f"{people} people hold the booklets {list(numbers.elements())}"
    ratings = Rating.objects.filter(evaluator__study=study)
    given = Counter(ratings.filter(superseded=False).values_list("trial", flat=True))
    planned = Counter(Trial.objects.filter(booklet__in=held).values_list("pk", flat=True))
    for trial in (planned - given) | (given - planned):
        yield f"trial {trial} has {given[trial]} answers"
    filled: Counter[Any] = Counter(ratings.filter(counted=True).exclude(slot=None).values_list("slot", flat=True))
    slots: Counter[Any] = Counter(
        Trial.objects.filter(booklet__in=held, kind=Trial.Kind.MAIN).values_list("slot", flat=True)
    )
    for slot in (slots - filled) | (filled - slots):
        yield f"slot {slot} is filled {filled[slot]} times"
    unfinished = study.evaluators.filter(finished_at=None).count()
    if unfinished:
        yield f"{unfinished} people have no time of finishing"
