"""Visit a study over HTTP as a simulated evaluator, from the link to the last page.

This module only knows what the server sends; ``studies.simulation.deciders`` decides what is answered.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, Protocol

import httpx
import numpy as np
from django.db import connections

RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts of one request while the server does not answer
SIDES = ("left", "right")
BOTH_BAD_SHARE = 0.25  # of the neutral answers, where “both are bad” is offered
REASON_SHARE = 0.3  # chance of each reason, where reasons are asked for


class SimulationError(RuntimeError):
    """A response that a browser would show as an error, or no response at all."""


class Decider(Protocol):
    """An object that decides for one evaluator."""

    def choose(self, trial: Mapping[str, Any], pictures: Mapping[str, bytes]) -> int:
        """Return a choice −2 … +2 for a trial as the server sent it, with its two pictures by side."""

    def comprehension(self) -> Mapping[str, str]:
        """Return the fields of the comprehension check's form."""


@dataclass(frozen=True)
class Visitor:
    """One simulated evaluator: the link, a decider, a random stream, and when the evaluator drops out.

    ``leaves_at``: the share of the trials, 0 ≤ share < 1, after which the visitor leaves for good; None: stays.
    ``at_most``: ratings of this visit, practice among them; None: all.
    """

    path: str
    decider: Decider
    rng: np.random.Generator
    leaves_at: float | None = None
    at_most: int | None = None

    def leaves(self, status: Mapping[str, Any], ratings: int) -> bool:
        """Whether the visit ends before this status's trial. Nobody drops out in the practice."""
        if self.at_most is not None and ratings >= self.at_most:
            return True
        if self.leaves_at is None or status["state"] == "practice":
            return False
        return bool(status["trial"]["position"] - 1 >= self.leaves_at * status["trial"]["of"])


@dataclass(frozen=True)
class Visit:
    """The result of a visit. ``outcome``: left, full, stopped, or the state of the last page."""

    outcome: str
    ratings: int = 0
    seconds: float = 0.0


@dataclass
class Walk:
    """A visit in progress."""

    client: httpx.Client
    visitor: Visitor
    fetch: bool = True  # the pictures, as a browser does
    stop: Event = field(default_factory=Event)
    ratings: int = 0

    def to_the_end(self) -> str:
        """Go from page to page; return the outcome."""
        status = self._body(self._send("GET", self.visitor.path))
        while not self.stop.is_set():
            state = status["state"]
            if state == "consent":
                status = self._post("consent/", {"agree": "1", "of_age": "1"})
            elif state in ("instructions", "break", "question"):
                status = self._post("go-on/", {})
            elif state == "comprehension":
                status = self._post("comprehension/", self.visitor.decider.comprehension())
            elif state not in ("trial", "practice"):
                return str(state)
            elif self.visitor.leaves(status, self.ratings):
                return "left"
            else:
                status = self._rate(status["trial"])
        return "stopped"

    def _rate(self, trial: Mapping[str, Any]) -> dict[str, Any]:
        pictures = {side: self._picture(trial[side]) for side in SIDES} if self.fetch else {}
        status = self._post("rate/", self._answer(trial, self.visitor.decider.choose(trial, pictures)))
        self.ratings += 1
        return status

    def _answer(self, trial: Mapping[str, Any], choice: int) -> dict[str, Any]:
        """Return the fields of an answer, with a time and, where the trial asks, reasons."""
        rng = self.visitor.rng
        fields: dict[str, Any] = {
            "trial": trial["id"],
            "choice": str(choice),
            "elapsed_ms": str(int(rng.lognormal(8.2, 0.5))),
            "key": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
        }
        both_bad = [option["choice"] for option in trial["criterion"]["options"][5:]]
        if choice == 0 and both_bad and rng.random() < BOTH_BAD_SHARE:
            fields["choice"] = both_bad[0]
        if trial["asks"]:
            fields["reasons"] = [tag for tag in trial["asks"]["reasons"] if rng.random() < REASON_SHARE]
        return fields

    def _post(self, what: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Send a form and return the next status. A study that is full, or was paused meanwhile, is no error."""
        response = self._send("POST", f"{self.visitor.path}{what}", data)
        if response.status_code == 403:
            reason = response.json()["reason"]
            if reason == "full":
                return {"state": "full"}
            status = self._body(self._send("GET", self.visitor.path))
            if status["trial"] is None:
                return status
        next_status: dict[str, Any] = self._body(response)["next"]
        return next_status

    def _picture(self, path: str) -> bytes:
        response = self._send("GET", path, accept="image/*")
        if response.status_code != 200:
            raise SimulationError(f"a picture answered {response.status_code}")
        return response.content

    def _body(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code != 200:
            method = response.request.method
            raise SimulationError(f"{method} answered {response.status_code}: {response.text[:300]}")
        body: dict[str, Any] = response.json()
        return body

    def _send(
        self, method: str, path: str, data: Mapping[str, Any] | None = None, accept: str = "application/json"
    ) -> httpx.Response:
        """Send a request; repeat it while there is no connection, as the page does. An answer's key makes that safe."""
        for pause in (*RETRY_SECONDS, None):
            try:
                return self.client.request(method, path, data=data, headers={"Accept": accept})
            except httpx.TransportError as error:
                if pause is None or self.stop.wait(pause):
                    raise SimulationError(f"{self.client.base_url} does not answer: {error}") from error
        raise AssertionError("the last attempt returns or raises")


def visit(base_url: str, visitor: Visitor, *, fetch: bool = True, stop: Event | None = None) -> Visit:
    """Visit one visitor's link to its end, or to where the visitor leaves. Raises ``SimulationError``."""
    start = time.monotonic()
    with httpx.Client(base_url=base_url, timeout=60, follow_redirects=False) as client:
        walk = Walk(client, visitor, fetch, stop or Event())
        outcome = walk.to_the_end()
    return Visit(outcome, walk.ratings, time.monotonic() - start)


def visit_all(
    base_url: str,
    visitors: Sequence[Visitor],
    *,
    threads: int = 4,
    fetch: bool = True,
    on_finish: Callable[[Visit], None] = lambda _visit: None,
) -> list[Visit]:
    """Visit for several visitors at once; results in their order. The first error stops the others.

    They come in one after the other, and then rate at once: so each gets the same booklet in every run.
    """
    stop = Event()
    for visitor in visitors:
        visit(base_url, replace(visitor, at_most=0), fetch=False)

    def one(visitor: Visitor) -> Visit:
        try:
            result = visit(base_url, visitor, fetch=fetch, stop=stop)
        except BaseException:
            stop.set()
            raise
        finally:
            connections.close_all()  # this thread's own, through which deciders read records
        on_finish(result)
        return result

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, visitors))
