"""Simulated evaluators who rate over HTTP, as browsers do. They know what the server sends, and nothing else."""

from __future__ import annotations

import io
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image as PillowImage

from analysis.simulate import SimulatedEvaluator, choose

Quality = Callable[[np.ndarray, str], float]  # (uint8 picture, prompt) -> how good, 0–1
JSON = {"Accept": "application/json"}


class SimulationError(RuntimeError):
    """An answer of the server that a browser would show as an error."""


@dataclass(frozen=True)
class Visit:
    """What one simulated evaluator did."""

    ratings: int
    seconds: float


def rate_as_visitor(
    base_url: str,
    path: str,
    quality: Quality,
    person: SimulatedEvaluator,
    rng: np.random.Generator,
    *,
    at_most: int | None = None,
) -> Visit:
    """Walk one evaluator's link to its end (or ``at_most`` ratings): consent, then every trial."""
    began, ratings = time.monotonic(), 0
    with httpx.Client(base_url=base_url, headers=JSON, timeout=60, follow_redirects=False) as client:
        status = _body(client.get(path))
        if status["state"] == "consent":
            status = _next(_body(client.post(f"{path}consent/", data={"agree": "1"})))
        while (trial := status.get("trial")) and (at_most is None or ratings < at_most):
            left, right = (quality(_picture(client, trial[side]), trial["prompt"]) for side in ("left", "right"))
            answer = {
                "trial": trial["id"],
                "choice": choose(left, right, person, rng),
                "elapsed_ms": int(rng.lognormal(8.2, 0.5)),
                "key": str(uuid.UUID(bytes=rng.bytes(16), version=4)),
            }
            status = _next(_body(client.post(f"{path}rate/", data=answer)))
            ratings += 1
    return Visit(ratings, time.monotonic() - began)


def _next(body: dict[str, Any]) -> dict[str, Any]:
    following: dict[str, Any] = body.get("next", body)
    return following


def _body(response: httpx.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise SimulationError(f"{response.request.method} answered {response.status_code}: {response.text[:300]}")
    body: dict[str, Any] = response.json()
    return body


def _picture(client: httpx.Client, path: str) -> np.ndarray:
    response = client.get(path, headers={"Accept": "image/*"})
    if response.status_code != 200:
        raise SimulationError(f"a picture answered {response.status_code}")
    with PillowImage.open(io.BytesIO(response.content)) as picture:
        return np.asarray(picture.convert("RGB"))


def rate_all(
    base_url: str,
    paths: Sequence[str],
    quality: Quality,
    people: Sequence[SimulatedEvaluator],
    seed: int,
    *,
    threads: int = 4,
    at_most: Sequence[int | None] | None = None,
    finished: Callable[[Visit], None] = lambda visit: None,
) -> list[Visit]:
    """Several evaluators at once, each with a random stream of its own; results in the order of ``paths``."""
    limits = at_most or [None] * len(paths)

    def one(index: int) -> Visit:
        rng = np.random.default_rng([seed, index])
        visit = rate_as_visitor(base_url, paths[index], quality, people[index], rng, at_most=limits[index])
        finished(visit)
        return visit

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(len(paths))))
