"""Examine an installation, and repair it: database, clock, broker, storage, checkpoints, pictures, chains, work.

Every check returns findings; a finding that is no fault says what is well. Repairing loses nothing: pictures are made
again from their records, a file that nobody records is removed only when it is older than a day, failed work
is released.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from celery import current_app
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from evenhand.errors import InputError, lacks_models
from evenhand.studies import image_store, lifecycle, undo
from evenhand.studies.models import Image, Recipe, Study
from evenhand.studies.pipeline import lost_pictures, model_cache, stages
from evenhand.studies.rating import chain
from evenhand.studies.stores.base import StoredFile
from evenhand.studies.work.notify import notify_where_work_waits
from evenhand.studies.work.outage import is_outage

logger = logging.getLogger(__name__)
LEAST_FREE = 2 * 1024**3  # bytes
ORPHAN_AGE = timedelta(days=1)  # a younger file may be of work whose rows are not written yet
MOST_AHEAD = 5.0  # seconds; with more, leases end early or late by as much
SHOWN = 5  # names in a finding


@dataclass(frozen=True)
class Finding:
    """What a check found: its subject, whether all is well, and a sentence."""

    subject: str
    well: bool
    text: str


Findings = Iterator[Finding]


def database(_repair: bool) -> Findings:
    """Whether the database answers, with the tables of this version."""
    try:
        executor = MigrationExecutor(connection)
        missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        yield Finding("database", False, f"it does not answer: {str(error).strip()}")
        return
    text = f"{missing} migrations are missing: run manage.py migrate" if missing else f"{connection.vendor} answers"
    yield Finding("database", not missing, text)


def clock(_repair: bool) -> Findings:
    """Whether this machine's clock agrees with the database's: leases and pauses hold by the machines' clocks."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        before = timezone.now()
        cursor.execute("SELECT clock_timestamp()")
        told, after = cursor.fetchone()[0], timezone.now()
    ahead = (before + (after - before) / 2 - told).total_seconds()
    where = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database’s clock"
    yield Finding("clock", abs(ahead) <= MOST_AHEAD, where)


def broker(_repair: bool) -> Findings:
    """Whether the broker answers within a few seconds."""
    try:
        with current_app.connection_for_write() as link:
            link.ensure_connection(max_retries=1, timeout=5)
            link.default_channel.close()
    except Exception as error:  # transports raise many kinds
        yield Finding("broker", False, f"it does not answer ({error}); work goes on when it does")
    else:
        yield Finding("broker", True, f"{link.transport_cls} answers")


def storage(_repair: bool) -> Findings:
    """Whether the folder or bucket of pictures can be written and read, and how much is free on a folder's disk."""
    store = image_store.store()
    probe, content = StoredFile(store, f"doctor-{time.time_ns()}.tmp"), bytes(4096)
    try:
        probe.write_bytes(content)
        well = probe.read_bytes() == content
        probe.delete()
        free = store.free()
    except OSError as error:
        with suppress(OSError):
            probe.delete()
        yield Finding("storage", False, f"{store.place()} cannot be written: {error.strerror}")
        return
    if not well:
        yield Finding("storage", False, f"{store.place()} gives other bytes than were written")
    elif free is None:
        yield Finding("storage", True, f"{store.place()} is written and read")
    else:
        gigabytes = f"{free / 1024**3:.1f} GB are free on the disk of {store.place()}"
        yield Finding("storage", free >= LEAST_FREE, gigabytes)


def checkpoints(_repair: bool) -> Findings:
    """Whether every checkpoint that a study's pictures come from is there, and is the one that drew them."""
    used = Recipe.objects.filter(studies__isnull=False).values_list("checkpoint", "revision").distinct()
    for name, revision in sorted(used):
        try:
            well = model_cache.checkpoint_revision(name) == revision
        except InputError as error:
            yield Finding("checkpoint", False, f"{name}: {error}")
        else:
            yield Finding("checkpoint", well, f"{name} is {'as' if well else 'not what'} it was")


def pictures(repair: bool) -> Findings:
    """Whether every recorded picture's file is there with its bytes; where asked to, lost ones are made again."""
    images = Image.objects.filter(state=Image.State.DONE)
    lost, damaged = [], []
    for image in images.iterator():
        try:
            if not image_store.is_intact(image.sha256):
                damaged.append(image)
        except FileNotFoundError:
            lost.append(image)
    yield Finding(
        "pictures", not (lost or damaged), f"{images.count()} recorded, {len(lost)} lost, {len(damaged)} damaged"
    )
    if repair and (lost or damaged):
        yield from _make_again([*lost, *damaged])


def _make_again(images: list[Image]) -> Findings:
    """Make pictures again, each by itself. A damaged file stays until its equal can be stored in its place."""
    restored, reasons = 0, []
    for image in lost_pictures.in_order(images):
        try:
            result = lost_pictures.restore([image])
        except Exception as error:
            if lacks_models(error):
                reasons.append(f"{error}: run doctor --repair where a worker runs")
                continue
            reasons.append(f"{image}: {type(error).__name__}: {error}")
            if is_outage(error):  # the others would wait for it in vain
                break
        else:
            restored += len(result.restored)
            reasons += result.refused.values()
    yield Finding("pictures", not reasons, f"{restored} made again with equal bytes, {len(images) - restored} not")
    for reason in list(dict.fromkeys(reasons))[:SHOWN]:
        yield Finding("pictures", False, reason)


def orphans(repair: bool) -> Findings:
    """Find files that no record names; where asked to, remove those that are older than a day."""
    known = set(Image.objects.exclude(sha256="").values_list("sha256", flat=True))
    found = image_store.stored_files()
    files = [(file, changed) for file, changed in found if image_store.hash_of(file) not in known]
    old = [file for file, changed in files if timezone.now() - changed > ORPHAN_AGE]
    yield Finding("files", not old, f"{len(files)} without a record, {len(old)} of them older than a day")
    if repair and old:
        yield Finding("files", True, f"{sum(_remove(file) for file in old)} removed")


def _remove(file: StoredFile) -> bool:
    """Remove a file that still is old and without a record: since it was listed, a worker may have drawn it again."""
    if Image.objects.filter(sha256=image_store.hash_of(file)).exists():
        return False
    with suppress(FileNotFoundError):
        if timezone.now() - file.changed() > ORPHAN_AGE:
            file.delete()
            return True
    return False


def chains(repair: bool) -> Findings:
    """Whether every study's ratings are as they were written, and as they were when it was closed.

    Where asked to, the root of a closing that was interrupted is recorded, if the study's chains hold.
    """
    faults = []
    for study in Study.objects.all():
        found = [str(fault) for fault in chain.faults(study)]
        if repair and not found and study.state == Study.State.CLOSED and not study.ratings_root:
            lifecycle.close_study(study)
            yield Finding("ratings", True, f"“{study}”: the root of its ratings is recorded")
        if fault := chain.closing_fault(study):
            found.append(fault)
        faults += [f"“{study}”: {fault}" for fault in found]
    yield Finding("ratings", not faults, f"{len(faults)} faults in {Study.objects.count()} studies' hash chains")
    for fault in faults[:SHOWN]:
        yield Finding("ratings", False, fault)


def work(repair: bool) -> Findings:
    """Find preparations that failed; where asked to, give them another round of attempts and notify the workers.

    What an admin stopped is left as it is.
    """
    preparing = Study.objects.filter(state=Study.State.PREPARING)
    on_purpose = preparing.filter(stages__state="failed", stages__error=undo.STOPPED)
    stopped = preparing.filter(stages__state="failed").exclude(pk__in=on_purpose.values("pk")).distinct()
    for study in on_purpose.distinct():
        yield Finding("work", True, f"“{study}” was stopped by an admin; “Try again” goes on with it")
    for study in stopped:
        failed = study.stages.filter(state="failed").values_list("name", "error")
        yield Finding("work", False, f"“{study}” stopped: {'; '.join(f'{name}: {error}' for name, error in failed)}")
        if repair:
            count = stages.retry(study)
            yield Finding("work", True, f"“{study}”: {count} batches are tried again")
    if repair:
        stages.advance_idle()
        queues = notify_where_work_waits()
        yield Finding("work", True, f"notified: {', '.join(queues) or 'no queue has work'}")
    elif not stopped:
        yield Finding("work", True, "no preparation has failed")


CHECKS: tuple[Callable[[bool], Findings], ...] = (
    database, clock, broker, storage, checkpoints, pictures, orphans, chains, work,
)  # fmt: skip


def examine(*, repair: bool = False) -> Iterator[Finding]:
    """Run all checks, one after the other; without a database only those that need none."""
    answers = True
    for check in CHECKS:
        if answers or check in (broker, storage):
            for finding in _survived(check, repair):
                answers = answers and (check is not database or finding.well)
                yield finding


def _survived(check: Callable[[bool], Findings], repair: bool) -> Findings:
    """Run a check; an error that it did not foresee is a finding, and the next check has its turn."""
    try:
        yield from check(repair)
    except Exception as error:
        logger.exception("the check of %s ended early", check.__name__)
        yield Finding(check.__name__, False, f"this check ended early: {type(error).__name__}: {error}")
