"""Inject faults into installations of its own, and write what did not hold: ``make faults``.

Everything lies in a temporary folder, with a PostgreSQL and a Redis of its own on free ports; nothing else is touched.
What is needed and not installed leaves its runs out, and the report says so. Ends with status 1 where something did not
hold; then the folder with the logs is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.helpers.faults.outcome import Outcome
    from tests.helpers.faults.place import Place

ROOT = Path(__file__).resolve().parent.parent
PLACES = {"files": "SQLite and files", "services": "PostgreSQL and Redis"}
RUNS = (  # module of tests.helpers.faults, place
    ("killed_workers", "files"),
    ("killed_workers", "services"),
    ("killed_servers", "files"),
    ("killed_servers", "services"),
    ("broken_services", "services"),
    ("full_disk", "files"),
    ("full_disk", "services"),
    ("repeated_tasks", "files"),
    ("repeated_tasks", "services"),
)
FULL_DISK = "full_disk"
RUN_ENDS_WITHIN = 900  # seconds


def main() -> int:
    """Run what was asked for, and write the report; return the number of runs in which something did not hold."""
    options = arguments().parse_args()
    if options.run:
        one(options)
        return 0
    chosen = [run for run in RUNS if options.only in ("", run[0]) and options.on in ("", run[1])]
    folder = Path(tempfile.mkdtemp(prefix="evenhand-faults-"))
    folder.chmod(0o711)  # PostgreSQL's user has to enter it
    outcomes: list[dict[str, Any]] = []
    for kind, place in chosen:
        outcomes.append(in_a_process(kind, place, folder, options))
        write(outcomes, options)
    print((options.to / "report.md").read_text())
    bad = sum(bool(each["differences"]) for each in outcomes)
    if bad:
        print(f"{bad} of {len(outcomes)} runs show differences; logs: {folder}")
    else:
        shutil.rmtree(folder)
    print(f"Written to {options.to}: report.md, report.json")
    return bool(bad)


def arguments() -> argparse.ArgumentParser:
    """Define the options."""
    parser = argparse.ArgumentParser(prog="python -m scripts.run_faults", description=__doc__)
    parser.add_argument("--only", choices=sorted({kind for kind, _ in RUNS}), default="", help="one kind of fault")
    parser.add_argument("--on", choices=PLACES, default="", help="embedded files only, or services only")
    parser.add_argument("--times", type=int, default=20, help="kills in one run; other faults come as often in all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the random moments")
    parser.add_argument("--to", type=Path, default=ROOT / "var" / "faults", help="folder of the report")
    parser.add_argument("--run", nargs=3, metavar=("KIND", "PLACE", "FOLDER"), help=argparse.SUPPRESS)
    return parser


# ------------------------------------------------------------------------------ one run, in a process of its own


def in_a_process(kind: str, place: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one kind of fault in one place; return its outcome as JSON. What goes wrong with it is a difference."""
    print(f"{time.strftime('%H:%M:%S')} {kind.replace('_', ' ')}, {PLACES[place]} …", flush=True)
    from tests.helpers.faults.disk import start_of_command
    from tests.helpers.faults.outcome import Outcome

    if kind == FULL_DISK and place == "services" and os.geteuid() != 0:
        return Outcome(kind, PLACES[place], skipped="PostgreSQL beside a mounted disk needs root").to_dict()
    own = folder / f"{kind}-{place}"
    own.mkdir(mode=0o711)
    start = start_of_command() if kind == FULL_DISK else []
    command = [*start, sys.executable, "-m", "scripts.run_faults", "--run", kind, place, str(own)]
    command += ["--times", str(options.times), "--seed", str(options.seed)]
    with (own / "run.log").open("wb") as log:
        try:
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=True, timeout=RUN_ENDS_WITHIN)
            told: dict[str, Any] = json.loads((own / "outcome.json").read_text())
        except (subprocess.SubprocessError, OSError) as error:
            told = Outcome(kind, PLACES[place], differences=[f"the run itself failed: {error}"]).to_dict()
    for line in told["differences"][:20]:
        print(f"  {line[:2000]}")
    print(f"  {told['skipped'] or said(told)}", flush=True)
    return told


def said(told: dict[str, Any]) -> str:
    """Say an outcome in a line."""
    faults, checks = sum(told["faults"].values()), len(told["checked"])
    return f"{faults} faults, {checks} checks, {len(told['differences'])} differences, {told['seconds']:.0f} s"


def one(options: argparse.Namespace) -> None:
    """Set up the place, inject the faults, look at everything afterwards, and write the outcome into the folder."""
    from tests.helpers.faults.services import MissingError

    kind, where, folder = options.run[0], options.run[1], Path(options.run[2])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with installation(where, folder, small_disk=kind == FULL_DISK) as place:
            module = import_module(f"tests.helpers.faults.{kind}")
            outcome = module.run(place, options.times, options.seed)
            examine(place, outcome)
    except MissingError as error:
        from tests.helpers.faults.outcome import Outcome

        outcome = Outcome(kind.replace("_", " "), PLACES[where], skipped=str(error))
    (folder / "outcome.json").write_text(json.dumps(outcome.to_dict()))


@contextmanager
def installation(where: str, folder: Path, *, small_disk: bool) -> Iterator[Place]:
    """Make a new installation, and let this process use it.

    small_disk: put everything on a tmpfs, or where there are services the pictures alone.
    """
    from tests.helpers.faults.disk import SmallDisk
    from tests.helpers.faults.services import Postgres, Redis

    with ExitStack() as stack:
        environment = {"EVENHAND_VAR": str(folder / "var"), "EVENHAND_DEVICE": "cpu"}
        postgres = redis = None
        if where == "services":
            for name in ("postgres", "redis"):
                (folder / name).mkdir(mode=0o711)
            postgres, redis = Postgres(folder / "postgres"), Redis(folder / "redis")
            stack.enter_context(postgres)
            stack.enter_context(redis)
            environment |= {"DATABASE_URL": postgres.url, "CELERY_BROKER_URL": redis.url}
        disk = None
        var = folder / "var"
        if small_disk:
            small = var if where == "files" else var / "images"
            small.mkdir(parents=True)
            disk = stack.enter_context(SmallDisk(small))
        use(environment)
        from tests.helpers.faults.place import Place

        yield Place(PLACES[where], folder, dict(os.environ), postgres, redis, disk)


def use(environment: dict[str, str]) -> None:
    """Give this process its settings, and make the tables."""
    import django

    for name in ("DATABASE_URL", "CELERY_BROKER_URL", "EVENHAND_TEST_SQLITE", "EVENHAND_STATIC"):
        os.environ.pop(name, None)
    os.environ["DJANGO_SETTINGS_MODULE"] = "evenhand.config.settings"
    os.environ.update({"EVENHAND_LEASE_SECONDS": "4", "EVENHAND_BACKOFF_SECONDS": "0.25", "OMP_NUM_THREADS": "1"})
    os.environ.update(environment)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def examine(place: Place, outcome: Outcome) -> None:
    """Ask the commands that an administrator has whether all is well."""
    from evenhand.studies.models import Study

    # The pictures that raters look at were drawn without a model, so that no checkpoint is to be looked for.
    Study.objects.filter(recipe__revision="0" * 64).update(recipe=None)
    doctor = place.manage("doctor")
    outcome.expect("manage.py doctor finds nothing wrong", [doctor.stdout + doctor.stderr] if doctor.returncode else [])
    for study in Study.objects.filter(evaluators__ratings__isnull=False).distinct():
        verified = place.manage("verify_ratings", str(study.pk))
        outcome.expect("manage.py verify_ratings holds", [verified.stderr] if verified.returncode else [])


# ------------------------------------------------------------------------------ the report


def write(outcomes: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write the report of the runs so far as a table and as JSON."""
    from tests.helpers.faults.outcome import Outcome, table

    options.to.mkdir(parents=True, exist_ok=True)
    told = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}, "
        f"Python {platform.python_version()}",
        "seed": options.seed,
        "times": options.times,
        "runs": outcomes,
    }
    lines = table([Outcome(**each) for each in outcomes])
    (options.to / "report.json").write_text(json.dumps(told, indent=2) + "\n")
    (options.to / "report.md").write_text(lines)


if __name__ == "__main__":
    sys.exit(main())
