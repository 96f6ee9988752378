"""Measure a study of very many prompts: its preparation by workers if asked for, its opening, its pages, its files."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scale import draft, environment, prompt_set, wait_until, workers
from benchmarks.scale_rows import write_rows

if TYPE_CHECKING:
    from django.test import Client

    from evenhand.studies.models import Study

PEOPLE, ROUNDS = 200, 3
LONGEST = 4 * 3600  # seconds of a preparation
CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET LOCAL")
PAGES = {
    "studies": "/console/",
    "study": "/console/studies/{pk}/",
    "pictures": "/console/studies/{pk}/parts/pictures/",
    "evaluators": "/console/studies/{pk}/parts/evaluators/",
    "results, in short": "/console/studies/{pk}/parts/results/",
    "live part": "/console/studies/{pk}/live/",
    "pairs": "/console/studies/{pk}/pairs/",
    "pairs, last page": "/console/studies/{pk}/pairs/?page=100000",
    "pairs, one stratum": "/console/studies/{pk}/pairs/?comparison=2&stratum=low",
    "pairs, odd": "/console/studies/{pk}/pairs/?look=odd",
    "pairs, by opinion": "/console/studies/{pk}/pairs/?sort=disagreement",
    "pairs, by pixels": "/console/studies/{pk}/pairs/?sort=difference",
    "pair": "/console/studies/{pk}/pairs/{pair}/",
    "checks": "/console/studies/{pk}/checks/",
    "people": "/console/studies/{pk}/people/",
    "results": "/console/studies/{pk}/results/",
    "print": "/console/studies/{pk}/printed/",
    "metrics": "/console/studies/{pk}/metrics/",
    "versions": "/console/studies/{pk}/versions/",
    "revision": "/console/studies/{pk}/revision/",
    "manage": "/console/studies/{pk}/manage/",
    "log": "/console/studies/{pk}/log/",
    "plan": "/console/studies/{draft}/plan/",
    "plan, reviewed": "/console/studies/{draft}/plan/review/",
    "prompt sets": "/console/prompts/",
    "prompt set": "/console/prompts/{prompts}/",
    "prompt set, a late page": "/console/prompts/{prompts}/?page=500",
    "prompt set, searched": "/console/prompts/{prompts}/?q=giraffe",
}
FILES = {
    "pairs.csv": "/console/studies/{pk}/pairs.csv",
    "prompts.csv": "/console/studies/{pk}/prompts.csv",
    "preferences.csv": "/console/studies/{pk}/preferences.csv",
}
BUNDLE = "/console/studies/{pk}/bundle.zip"  # by POST, because its root is recorded


def measure_study(options: argparse.Namespace) -> dict[str, Any]:
    """Prepare, open and look at a study of ``options.prompts`` prompts."""
    from evenhand.studies.models import Booklet, Image, Pair, Trial
    from evenhand.studies.rating.enrolment import consent, enrol

    start = time.perf_counter()
    prompts = prompt_set(options.captions, options.prompts, "Many prompts")
    imported = time.perf_counter() - start
    study = draft(prompts, "Many prompts")
    preparation = None
    if options.prepare:
        preparation = prepare(study, options.workers)
        print(json.dumps(preparation), flush=True)  # it took long: not to be lost by what follows
    else:
        write_rows(study)
    opening, opening_peak = opened(study)
    for _ in range(PEOPLE):
        consent(enrol(study))
    places = {
        "pk": study.pk, "prompts": prompts.pk,
        "pair": Pair.objects.filter(comparison__study=study).order_by("-pk").values_list("pk", flat=True)[0],
        "draft": draft(prompts, "Another plan", owner=study.owner).pk,
    }  # fmt: skip
    return {
        "prompts": prompts.count,
        "pictures": Image.objects.count(),
        "pairs": Pair.objects.count(),
        "import_s": round(imported, 1),
        "preparation": preparation,
        "opening_s": round(opening, 1),  # the command's start included
        "booklets": Booklet.objects.count(),
        "trials": Trial.objects.count(),
        "opening_process_peak_memory_gb": opening_peak,
        **looked_at(study, places, with_bundle=options.prepare),
    }


def opened(study: Study) -> tuple[float, float]:
    """Open a study by its command; return the seconds, and the process's largest resident size in GB."""
    start, peak = time.perf_counter(), 0.0
    command = [sys.executable, "manage.py", "study", "open", str(study.pk), "--accept-odd-pairs"]
    process = subprocess.Popen(command, env=environment())
    while process.poll() is None:
        with suppress(StopIteration):  # it has ended meanwhile
            peak = resident_peak(process.pid)
        time.sleep(0.1)
    assert process.returncode == 0
    return time.perf_counter() - start, peak


def prepare(study: Study, count: int) -> dict[str, Any]:
    """Let workers prepare a study; return each stage's seconds and queries, and the workers' peak memory."""
    from evenhand.studies.models import Stage
    from evenhand.studies.pipeline import stages

    def ended() -> bool:
        study.refresh_from_db()
        failed = Stage.objects.filter(study=study, state=Stage.State.FAILED).first()
        assert failed is None, f"{failed}: {failed.error if failed else ''}"
        return study.state == study.State.READY

    told: list[dict[str, Any]] = []
    with workers(count, told):
        stages.prepare(study)
        wait_until(ended, LONGEST)
    taken = {}
    for stage in study.stages.all():
        assert stage.started_at is not None
        assert stage.finished_at is not None
        queries = sum(sum(each["queries"].get(stage.name, {}).values()) for each in told)
        seconds = (stage.finished_at - stage.started_at).total_seconds()
        taken[stage.name] = {"seconds": round(seconds, 1), "units": stage.total, "queries": queries}
        frequent = sum((Counter(each["queries"].get(stage.name, {})) for each in told), Counter()).most_common(12)
        sys.stderr.write("".join(f"{stage.name} {n} {sql[:140]}\n" for sql, n in frequent))
    return {
        "workers": count,
        "stages": taken,
        "peak_memory_gb_after": {
            name: round(max(each["peaks"].get(name, 0) for each in told) / 1e9, 2) for name in taken
        },
        "worker_peak_memory_gb": round(max(each["peak_memory"] for each in told) / 1e9, 2),
    }


# ------------------------------------------------------------------------------ pages and files


@contextmanager
def web(log: Path) -> Iterator[tuple[str, int]]:
    """Run gunicorn with one process; yield its address and the number of that process."""
    from evenhand.studies.demonstration.processes import free_port, wait_until_it_answers

    port = free_port(8124)
    command = [sys.executable, "-m", "gunicorn", "evenhand.config.wsgi:application", f"--bind=127.0.0.1:{port}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--workers=1", "--threads=4", "--timeout=600"], env=environment(), stdout=output, stderr=output
        )
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/healthz", process, log)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield f"http://127.0.0.1:{port}", int(children[0])
    finally:
        process.terminate()
        process.wait(timeout=60)


def looked_at(study: Study, places: dict[str, Any], *, with_bundle: bool) -> dict[str, Any]:
    """Ask a web process for each page and file, and count the queries of each page in this process."""
    from django.conf import settings
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(study.owner)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    log = Path(settings.VAR) / "web.log"
    with web(log) as (url, pid):
        pages = {name: page_of(url, cookie, client, path.format(**places)) for name, path in PAGES.items()}
        after_pages = resident_peak(pid)
        written = {name: file_of(url, cookie, path.format(**places)) for name, path in FILES.items()}
        if with_bundle:
            written["bundle.zip"] = file_of(url, cookie, BUNDLE.format(**places), method="POST")
        return {
            "pages": pages,
            "web_peak_memory_gb": {"after the pages": after_pages, "after the files": resident_peak(pid)},
            "files": written,
        }


def resident_peak(pid: int) -> float:
    """Return a process's largest resident size so far, in GB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9, 2)


def page_of(url: str, cookie: str, client: Client, path: str) -> dict[str, Any]:
    """Return a page's median seconds over HTTP, without a kept report, and its queries without transactions'."""
    import httpx
    from django.core.cache import caches
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from evenhand.studies.results.report.cached import CACHE

    taken = []
    for _ in range(ROUNDS):
        caches[CACHE].clear()
        start = time.perf_counter()
        response = httpx.get(f"{url}{path}", cookies={"sessionid": cookie}, timeout=600)
        taken.append(time.perf_counter() - start)
        assert response.status_code == 200, f"{path}: {response.status_code}"
    caches[CACHE].clear()
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    queries = [query["sql"] or "" for query in captured.captured_queries]
    sent = [sql for sql in queries if not sql.startswith(CONTROL)]
    return {
        "seconds": round(statistics.median(taken), 3),
        "queries": len(sent),
        "kilobytes": len(response.content) // 1000,
    }


def file_of(url: str, cookie: str, path: str, method: str = "GET") -> dict[str, Any]:
    """Return a download's seconds and size."""
    import httpx

    start, size = time.perf_counter(), 0
    token = "0" * 32  # against forged requests: the same in the cookie and in the header
    cookies, headers = {"sessionid": cookie, "csrftoken": token}, {"X-CSRFToken": token}
    with httpx.stream(method, f"{url}{path}", cookies=cookies, headers=headers, timeout=3600) as response:
        assert response.status_code == 200, f"{path}: {response.status_code}"
        for part in response.iter_bytes():
            size += len(part)
    return {"seconds": round(time.perf_counter() - start, 1), "megabytes": round(size / 1e6, 1)}
