"""Measure many batches and a large study through PostgreSQL and Redis, with real workers and a model that only draws.

    python -m benchmarks.scale [--only PART …] [--captions FILE] [--prompts N] [--prepare] [--workers N] [--json FILE]
                               [--database URL] [--broker URL]

throughput  one stage of two candidates' pictures by 1, 2 and 4 workers: batches, pictures and queries
claims      claims, reports and records of batches by 1, 8 and 64 workers that sleep where a GPU would draw
study       a study of N prompts in three arms (30,000): opened, its pages, its files; its rows are written by the
            database, or with --prepare by workers in all its stages, and then its bundle is downloaded, too

What throughput and study measure is everything but the image model: claiming, leases, records, PNG, WebP, fsync, CLIP
scores of the small model. The pictures have 64×64 pixels. Without --captions the prompts are made. The database
(evenhand_bench_scale, on the named server) is created anew and dropped at the end. With ``--json`` the parts that were
run replace those of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.scale_worker import use_drawn_pictures
from benchmarks.throwaway import database

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from evenhand.studies.models import PromptSet, Study

DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"
BROKER = "redis://127.0.0.1:6379/8"
NAME = "evenhand_bench_scale"
PARTS = ("throughput", "claims", "study")
WORKERS, PROMPTS, BATCH_SIZE = (1, 2, 4), 480, 8  # of the throughput
WINDOW = (0.1, 0.9)  # of the stage's progress, in which the rate is measured: without its beginning and its end


def environment() -> dict[str, str]:
    """Return the environment of processes that use the benchmark's database."""
    from django.db import connection

    values = connection.settings_dict
    url = f"postgresql://{values['USER']}:{values['PASSWORD']}@{values['HOST']}:{values['PORT'] or 5432}/{NAME}"
    return os.environ | {"DATABASE_URL": url, "OMP_NUM_THREADS": "1"}


@contextmanager
def workers(count: int, told: list[dict[str, Any]]) -> Iterator[None]:
    """Run workers until the block ends; what each counted is added to ``told``. Begins when all have given a sign."""
    from evenhand.studies.models import WorkerSign

    WorkerSign.objects.all().delete()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(count)]
        log = (Path(folder) / "log").open("wb")
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scale_worker", str(file)],
                env=environment(), stdout=log, stderr=subprocess.STDOUT,
            )
            for file in files
        ]  # fmt: skip
        try:
            wait_until(lambda: WorkerSign.objects.count() == count, 300)
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=120)
            log.close()
            told += [json.loads(file.read_text()) for file in files if file.exists()]
            sys.stderr.write((Path(folder) / "log").read_text(errors="replace")[-2000:])


def wait_until(condition: Any, seconds: float) -> None:
    """Return once it is so; raise where that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {seconds} s")
        time.sleep(0.1)


def prompt_set(captions: Path | None, count: int, name: str) -> PromptSet:
    """Import the first prompts of a file that the small model reads whole, or as many that are made."""
    from evenhand.sampling.prompts import stream_prompts
    from evenhand.studies.prompt_import import import_texts, whole_prompts
    from evenhand.studies.prompt_lengths import checkpoints_at_hand

    if captions is None:
        texts = [f"a made prompt, number {number}, of so many words as a caption has" for number in range(count)]
    else:
        counters = [each.counter for each in checkpoints_at_hand() if each.name == "demo"]
        texts = [each.text for each in islice(whole_prompts(stream_prompts(captions), counters), count)]
    return import_texts(texts, name=name, source="the benchmark")


def draft(prompts: PromptSet, name: str, *, seed: int = 0, owner: User | None = None) -> Study:
    """Plan a study of three arms whose three strata together are nearly all of the prompts."""
    from evenhand.studies.drafts import create_study
    from tests.helpers.factories import make_admin, small_configuration

    settings: dict[str, Any] = {
        "subset_size": prompts.count, "per_stratum": prompts.count // 3 - 10, "percentiles": (83.3333, 50, 16.6667),
        "curve_sizes": (), "curve_draws": 1, "deduplicate": "none", "batch_size": BATCH_SIZE, "steps": 20, "seed": seed,
        "quota": 200, "trials_per_evaluator": 30,
    }  # fmt: skip
    configuration = small_configuration(**settings)
    return create_study(
        owner=owner or make_admin(f"owner of {name}"), name=name, prompt_set=prompts, configuration=configuration
    )


# ------------------------------------------------------------------------------ throughput


def measure_throughput(_: argparse.Namespace) -> dict[str, Any]:
    """Measure the stage that makes the candidates' pictures, by each number of workers."""
    prompts = prompt_set(None, PROMPTS, "Throughput")
    return {str(count): measure_stage(prompts, count) for count in WORKERS}


def measure_stage(prompts: PromptSet, count: int) -> dict[str, Any]:
    """Prepare a study up to its strata in this process, and let workers make the candidates' pictures."""
    from evenhand.studies.models import Batch, Stage, Study
    from evenhand.studies.pipeline import stages
    from evenhand.studies.work.notify import notify
    from evenhand.studies.work.queue import work_through

    study = draft(prompts, f"by {count}", seed=count)
    stages.prepare(study)
    arms = Stage.objects.filter(study=study, name="arms")
    work_through({Batch: stages.HANDLER}, stop=lambda: arms.get().state == Stage.State.RUNNING)
    of_study = Study.objects.filter(pk=study.pk)
    of_study.update(state=Study.State.PAUSED)  # nobody may claim before all workers are there
    told: list[dict[str, Any]] = []
    marks: list[tuple[float, int]] = []
    total = arms.get().total
    with workers(count, told):
        of_study.update(state=Study.State.PREPARING)
        for _ in range(4 * count):
            notify("gpu")
        while (done := arms.get().done) < total:
            marks.append((time.perf_counter(), done))
            time.sleep(0.1)
        marks.append((time.perf_counter(), total))
        of_study.update(state=Study.State.CLOSED)  # the stages after it are of no interest here
    inside = [mark for mark in marks if WINDOW[0] * total <= mark[1] <= WINDOW[1] * total]
    prompts_a_second = (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0])
    queries: Counter[str] = sum((Counter(each["queries"].get("arms", {})) for each in told), Counter())
    sys.stderr.write("".join(f"{n / total:8.2f}  {sql[:150]}\n" for sql, n in queries.most_common(40)))
    return {
        "batches_per_second": round(prompts_a_second / BATCH_SIZE, 2),
        "pictures_per_second": round(2 * prompts_a_second, 1),
        "queries_per_batch": round(queries.total() / (total / BATCH_SIZE), 1),
        "queries_per_picture": round(queries.total() / (2 * total), 2),
        "peak_memory_gb": round(max(each["peak_memory"] for each in told) / 1e9, 2),
    }


# ------------------------------------------------------------------------------ running


def main() -> None:
    """Print the figures; with ``--json`` also write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--captions", type=Path, help="a prompt file, such as the captions of COCO-30K")
    parser.add_argument("--prompts", type=int, default=30_000, help="of the large study")
    parser.add_argument("--workers", type=int, default=2, help="that prepare the large study")
    parser.add_argument("--prepare", action="store_true", help="let workers prepare the large study")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--database", default=DATABASE, help="the PostgreSQL server")
    parser.add_argument("--broker", default=BROKER, help="the Redis server, with a database of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as var:
        os.environ |= {
            "EVENHAND_VAR": var, "DATABASE_URL": options.database, "CELERY_BROKER_URL": options.broker,
            "EVENHAND_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "DJANGO_SETTINGS_MODULE": "evenhand.config.settings",
        }  # fmt: skip
        import django

        django.setup()
        from benchmarks.rating import machine
        from benchmarks.scale_claims import measure_claims
        from benchmarks.scale_study import measure_study

        use_drawn_pictures()
        measures = {"throughput": measure_throughput, "claims": measure_claims, "study": measure_study}
        result: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
        for part in options.only:
            with database(NAME):
                load = os.getloadavg()[0]
                result[part] = {"machine": machine(), "load_before": round(load, 1), **measures[part](options)}
                result[part]["load_after"] = round(os.getloadavg()[0], 1)
                print(part, json.dumps(result[part], indent=2), flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
