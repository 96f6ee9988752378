"""Many people at once, over HTTP, against several server processes: caps, balance, one rating a trial, whole chains.

Everybody clicks twice and has two tabs open; some fall silent, their trials are given to others, and their late answers
come in while the others answer.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import httpx
import pytest
from django.db.models import F

from evenhand.studies.access import enrolment_link
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Evaluator, Rating, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.enrolment import FULL_SECONDS
from tests.helpers.factories import make_ready_study
from tests.helpers.servers import gunicorn

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

QUOTA, COMERS, LATER = 8, 12, 5  # places, people at first, people after some fell silent
SILENT = 3
JSON = {"Accept": "application/json"}
Result = TypeVar("Result")


@pytest.fixture
def study() -> Study:
    """24 pairs, two booklets of twelve a block: four whole blocks. A practice trial, a check and a repeat each."""
    study = make_ready_study(quota=QUOTA, practice_trials=1, attention_checks=1, repeats=1)
    open_study(study)
    return study


@pytest.fixture
def server(study: Study, tmp_path: Path) -> Iterator[str]:
    with gunicorn(tmp_path / "server.log") as url:
        yield url


def at_once(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run all jobs in threads of their own, which begin together."""
    barrier = Barrier(len(jobs))

    def begin(job: Callable[[], Result]) -> Result:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(begin, jobs))


@dataclass
class Tab:
    """One of a person's open pages: everything it sends, it sends twice at once."""

    client: httpx.Client
    path: str
    page: dict[str, Any] = field(default_factory=dict)  # the trial that is shown
    accepted: list[dict[str, str]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def twice(self, what: str, data: dict[str, str]) -> list[httpx.Response]:
        replies = at_once([lambda: self.client.post(f"{self.path}{what}/", data=data, headers=JSON)] * 2)
        self.statuses.update(reply.status_code for reply in replies)
        return replies

    def look(self) -> bool:
        """Load the page; whether a trial is open."""
        self.page = self.client.get(self.path, headers=JSON).json()["trial"] or {}
        return bool(self.page)

    def click(self) -> None:
        """Answer what the page shows; both requests of one click are told the same."""
        data = {"trial": self.page["id"], "choice": "1", "elapsed_ms": "900", "key": str(uuid.uuid4())}
        one, other = self.twice("rate", data)
        assert one.status_code == other.status_code
        if one.status_code == 200:
            self.accepted.append(data)

    def rate(self, count: int = 1000) -> None:
        """Go on until the end, or for some trials; then load the page that stays open."""
        while count and self.look():
            self.click()
            count -= 1
        self.look()

    def replay(self) -> None:
        """Send everything once more: all of it is acknowledged again."""
        for data in self.accepted:
            assert {reply.status_code for reply in self.twice("rate", data)} == {200}


def come(client: httpx.Client, study: Study, names: Sequence[str]) -> list[Tab]:
    """People follow the enrolment link and consent, each twice at once; two tabs of each who found room."""
    join = enrolment_link(study)

    def enter(name: str) -> list[Tab]:
        replies = at_once([lambda: client.post(join, data={"PROLIFIC_PID": name})] * 2)
        assert {reply.status_code for reply in replies} <= {302, 403}
        links = {reply.headers["Location"].partition("?")[0] for reply in replies if reply.status_code == 302}
        if not links:
            return []  # full, told before the consent
        [link] = links  # the same person's
        tabs = [Tab(client, link), Tab(client, link)]
        one, other = tabs[0].twice("consent", {"agree": "1"})
        assert one.status_code == other.status_code
        return tabs if one.status_code == 200 else []

    return [tab for tabs in at_once([partial(enter, name) for name in names]) for tab in tabs]


def fall_silent(people: Sequence[Evaluator]) -> None:
    """Move all that these people did four hours back, in fitting chains, as if it had been so long ago."""
    back = timedelta(hours=4)
    for person in people:
        Booklet.objects.filter(evaluator=person).update(claimed_at=F("claimed_at") - back)
        Trial.objects.filter(booklet__evaluator=person).exclude(shown_at=None).update(shown_at=F("shown_at") - back)
        end = (0, "")
        for rating in Rating.objects.filter(evaluator=person).order_by("sequence"):
            rating.rated_at -= back
            chain.link(rating, end).save()
            end = (rating.sequence, rating.sha256)


def test_nothing_is_counted_twice_and_nothing_is_lost(study: Study, server: str) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    with httpx.Client(base_url=server, timeout=60, limits=limits) as client:
        tabs = come(client, study, [f"P{n}" for n in range(COMERS)])
        assert len(tabs) == 2 * QUOTA
        silent, busy = tabs[: 2 * SILENT], tabs[2 * SILENT :]
        at_once([*(lambda tab=tab: tab.rate(3) for tab in silent), *(tab.rate for tab in busy)])
        gone = list(Evaluator.objects.filter(study=study, booklet__isnull=False, finished_at=None))
        assert len(gone) == SILENT
        fall_silent(gone)
        time.sleep(FULL_SECONDS)  # so long the server takes the study to be as full as it was
        newcomers = come(client, study, [f"L{n}" for n in range(LATER)])
        tabs += newcomers
        assert newcomers
        late = [tab for tab in silent if tab.page]
        assert len({tab.path for tab in late}) == SILENT
        at_once([*(tab.rate for tab in newcomers), *(tab.click for tab in late), *(tab.replay for tab in busy)])
        for tab in late:  # who came back keeps what nobody else had taken by then
            tab.rate()
        for n in range(4 * QUOTA):  # whatever is left, as long as somebody is let in for it
            time.sleep(FULL_SECONDS)
            left = come(client, study, [f"X{n}"])
            for tab in left:
                tab.rate()
            if not left:
                break
    statuses = sum((tab.statuses for tab in tabs), Counter[int]())
    assert set(statuses) <= {200, 409}
    check(study)


def check(study: Study) -> None:
    """The record after everything: booklets, slots, pairs, sides, prompts, chains."""
    held = Booklet.objects.filter(study=study, remainder=False).exclude(evaluator=None)
    assert set(held.values_list("number", flat=True)) == set(range(QUOTA))
    ratings = Rating.objects.filter(evaluator__study=study)
    assert not ratings.filter(superseded=True).exists()
    assert max(Counter(ratings.values_list("trial", flat=True)).values()) == 1
    main = ratings.filter(trial__kind="main")
    counted = list(main.filter(counted=True).values_list("slot", "trial__pair", "trial__candidate_on_left"))
    planned = Trial.objects.filter(booklet__in=held, kind="main")
    assert Counter(slot for slot, *_ in counted) == Counter(planned.values_list("slot", flat=True))
    assert set(Counter(pair for _, pair, _ in counted).values()) == {QUOTA // 2}
    assert set(Counter((pair, side) for _, pair, side in counted).values()) == {QUOTA // 4}
    assert not main.filter(counted=False).exclude(slot=None).exists()
    for person in Evaluator.objects.filter(study=study):
        prompts = list(
            Trial.objects.filter(booklet__evaluator=person, kind="main").values_list("pair__prompt", flat=True)
        )
        assert len(prompts) == len(set(prompts))
    assert list(chain.faults(study)) == []
