"""Measure the evaluator's side: gunicorn and PostgreSQL, with the client on the same cores.

    python -m benchmarks.rating [--only PART …] [--json FILE] [--database URL] [--workers N] [--threads N]

ratings    16 raters at once without pauses: each answers the next trial as soon as it arrives
enrolment  1,050 people at once through the open link, for 1,000 places over 300 pairs; then both are counted
browser    one rater in Chromium with pictures of 512×512: first trial, next trials, the size of the page's JavaScript

The database (evenhand_bench, on the named server) is created anew and dropped at the end. About three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from benchmarks.invitations import invited
from benchmarks.throwaway import database

if TYPE_CHECKING:
    from evenhand.studies.models import Study

DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"
NAME = "evenhand_bench"
PARTS = ("ratings", "enrolment", "browser")
RATERS, ROUNDS, BOOKLETS = 16, 3, 6  # booklets a rater and round
COMERS, PLACES = 1050, 1000
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


@dataclass
class Line:
    """One client's open connection, and the seconds that each of its requests took."""

    url: str
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection(urlsplit(self.url).netloc, timeout=120)

    def send(self, method: str, path: str, fields: dict[str, str] | None = None) -> tuple[int, str, dict[str, Any]]:
        """Return status, redirect target and JSON; record the time from the first byte sent to the last one read."""
        body = urlencode(fields) if fields else None
        start = time.perf_counter()
        self.connection.request(method, path, body, FORM)
        response = self.connection.getresponse()
        data = response.read()
        self.seconds.append(time.perf_counter() - start)
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, response.headers.get("Location", ""), json.loads(data) if is_json else {}


# ------------------------------------------------------------------------------ server and study


@contextmanager
def server(workers: int, threads: int, log: Path) -> Iterator[str]:
    """Run gunicorn over the database, as the README says; yield its address."""
    from django.conf import settings
    from django.db import connection

    from evenhand.studies.demonstration.processes import free_port, wait_until_it_answers

    port = free_port(8123)
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{NAME}"
    options = [f"--bind=127.0.0.1:{port}", f"--workers={workers}", f"--threads={threads}", "--keep-alive=75"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "evenhand.config.wsgi:application", "--log-level=warning", *options],
            cwd=settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": url},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def make_study(name: str, **changes: Any) -> tuple[Study, float]:
    """Open a study of the paper's shape (2 × 3 × 50 pairs, 30 trials a person); return it and the opening's seconds."""
    from evenhand.studies.lifecycle import open_study
    from tests.helpers.factories import make_ready_study

    study = make_ready_study(name=name, per_stratum=50, trials_per_evaluator=30, **changes)
    start = time.perf_counter()
    open_study(study)
    return study, time.perf_counter() - start


def at_once(jobs: Sequence[Callable[[], Any]]) -> float:
    """Start all jobs together, each in its own thread; return the seconds until the last one has ended."""
    barrier = threading.Barrier(len(jobs) + 1)

    def begin(job: Callable[[], Any]) -> Any:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(begin, job) for job in jobs]
        barrier.wait()
        start = time.perf_counter()
        for future in futures:
            future.result()
    return time.perf_counter() - start


# ------------------------------------------------------------------------------ ratings


def measure_ratings(url: str) -> dict[str, Any]:
    """Measure ratings a second and their latency, beside the same client's requests that use no database."""
    study, _ = make_study("Ratings", quota=RATERS * BOOKLETS * (ROUNDS + 1))
    lines = [Line(url) for _ in range(RATERS)]
    idle_seconds = [at_once([partial(knock, line, 100) for line in lines]) for _ in range(ROUNDS)]
    rounds: list[dict[str, Any]] = []
    for number in range(ROUNDS + 1):  # the first one warms up
        links = invited(study, RATERS * BOOKLETS)
        errors: list[str] = []
        for line in lines:
            line.seconds.clear()
        shares = [links[i::RATERS] for i in range(RATERS)]
        seconds = at_once([partial(rate, line, share, errors) for line, share in zip(lines, shares, strict=True)])
        if number:
            latencies = sorted(value for line in lines for value in line.seconds)
            rounds.append({"ratings_per_second": len(latencies) / seconds, "errors": errors, **quantiles(latencies)})
    return {
        "raters": RATERS,
        "rounds": rounds,
        "ratings_per_second": statistics.median(each["ratings_per_second"] for each in rounds),
        "p95_ms": statistics.median(each["p95_ms"] for each in rounds),
        "errors": sum(len(each["errors"]) for each in rounds),
        "idle_requests_per_second": RATERS * 100 / statistics.median(idle_seconds),
    }


def knock(line: Line, count: int) -> None:
    for _ in range(count):
        line.send("GET", "/healthz")


def rate(line: Line, links: Sequence[str], errors: list[str]) -> None:
    """Answer every trial of some links; time only the answers."""
    for link in links:
        _, _, progress = line.send("GET", link)
        line.seconds.pop()
        while trial := progress.get("trial"):
            answer = {"trial": trial["id"], "choice": "1", "elapsed_ms": "1500", "key": str(uuid.uuid4())}
            status, _, reply = line.send("POST", f"{link}rate/", answer)
            if status != 200:
                errors.append(f"{status}: {reply}")
                return
            progress = reply["next"]


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median, 95th and 99th percentile in milliseconds of sorted values."""
    return {f"p{p}_ms": 1000 * seconds[min(len(seconds) - 1, len(seconds) * p // 100)] for p in (50, 95, 99)}


# ------------------------------------------------------------------------------ enrolment


def measure_enrolment(url: str) -> dict[str, Any]:
    """Enrol everybody at once, as far as the first trial; then count booklets, pairs and sides."""
    from evenhand.studies.access import enrolment_link

    study, opening_seconds = make_study("Rush", quota=PLACES)
    join = enrolment_link(study)
    outcomes: list[str] = []
    lines = [Line(url) for _ in range(COMERS)]

    def enter(line: Line) -> None:
        outcomes.append(come(line, join))

    threading.stack_size(512 * 1024)
    seconds = at_once([partial(enter, line) for line in lines])
    threading.stack_size(0)
    return {
        "comers": COMERS,
        "places": PLACES,
        "seconds": seconds,
        "opening_seconds": opening_seconds,
        "outcomes": dict(Counter(outcomes)),
        "slowest_request_s": max(max(line.seconds) for line in lines),
        **given_out(study),
    }


def come(line: Line, join: str) -> str:
    """Enrol one person and return the state after the consent, or the reason of a refusal."""
    try:
        status, link, _ = line.send("POST", join, {"lang": "en"})
        if status != 302:
            return f"join {status}"
        _, _, reply = line.send("POST", f"{link.partition('?')[0]}consent/", {"agree": "1"})
        return str(reply["next"]["state"] if reply.get("accepted") else reply.get("reason"))
    except OSError as error:
        return type(error).__name__


def given_out(study: Study) -> dict[str, Any]:
    """Count the booklets that people got, how often each pair is in them, and how its sides compare."""
    from evenhand.studies.models import Booklet, Trial

    booklets = Booklet.objects.filter(study=study).exclude(evaluator=None)
    rows = list(Trial.objects.filter(booklet__in=booklets).values_list("pair", "candidate_on_left"))
    pairs = Counter(pair for pair, _ in rows)
    left_counts = Counter(pair for pair, on_left in rows if on_left)
    return {
        "booklets": booklets.count(),
        "evaluators_with_two": booklets.count() - booklets.values("evaluator").distinct().count(),
        "pairs": len(pairs),
        "pair_spread": max(pairs.values()) - min(pairs.values()),
        "side_difference": max(abs(2 * left_counts[pair] - count) for pair, count in pairs.items()),
    }


# ------------------------------------------------------------------------------ command


def machine() -> dict[str, Any]:
    """Return processor, cores, load and versions."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = cursor.fetchone()[0]
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],  # other work on the same cores slows the measurement
        "python": platform.python_version(),
        "postgresql": postgres,
        "versions": {name: version(name) for name in ("django", "gunicorn", "psycopg2-binary")},
    }


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--database", default=DATABASE, help="the PostgreSQL server")
    parser.add_argument("--workers", type=int, default=3, help="gunicorn's processes")
    parser.add_argument("--threads", type=int, default=4, help="threads of each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as var:
        os.environ |= {
            "EVENHAND_VAR": var, "DATABASE_URL": options.database, "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
            "EVENHAND_STATIC": f"{var}/collected", "EVENHAND_ARRIVALS_PER_ADDRESS": "0",
        }  # fmt: skip
        import django

        django.setup()
        from django.core.management import call_command

        call_command("collectstatic", interactive=False, verbosity=0)
        from benchmarks.rating_browser import measure_browser

        measures = {"ratings": measure_ratings, "enrolment": measure_enrolment, "browser": measure_browser}
        with database(NAME), server(options.workers, options.threads, Path(var) / "server.log") as url:
            result: dict[str, Any] = {
                "machine": machine(), "gunicorn": {"workers": options.workers, "threads": options.threads}
            }  # fmt: skip
            for part in options.only:
                result[part] = measures[part](url)
                print(part, json.dumps(result[part], indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
