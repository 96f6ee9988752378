"""Measure requests, and count work and ratings, for Prometheus: the address ``/metrics`` where EVENHAND_METRICS is 1.

Requests are counted in each process; gunicorn's processes share their counts through files in the folder that
PROMETHEUS_MULTIPROC_DIR names (``evenhand.config.serving`` makes it). Everything else is asked of the database whenever
the address is read, by a few queries.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

from django.db import Error, connection
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from evenhand.studies.models import Rating, Stage, Study
from evenhand.studies.models.work import WorkerSign, WorkItem
from evenhand.studies.work import signs
from evenhand.studies.work.queue import QUEUES

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
METHODS = {"GET", "HEAD", "POST"}
OWN = CollectorRegistry()
SECONDS = Histogram(
    "evenhand_request_seconds",
    "Seconds from a request's first middleware to its answer",
    ("view", "method", "status"),
    registry=OWN,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)


def measured(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: measure how long each view takes, by its name, never by its address."""

    def answered(request: HttpRequest) -> HttpResponseBase:
        begin = time.perf_counter()
        response = get_response(request)
        match = request.resolver_match
        view = "none" if match is None else match.view_name or "unnamed"
        method = request.method if request.method in METHODS else "other"
        SECONDS.labels(view, method, str(response.status_code)).observe(time.perf_counter() - begin)
        return response

    return answered


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all figures; to whoever asks through a proxy there is no such page."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        raise Http404
    registry = CollectorRegistry()
    if FOLDER in os.environ:
        MultiProcessCollector(registry)
        measured_here = b""
    else:
        measured_here = generate_latest(OWN)
    registry.register(Records())
    return HttpResponse(measured_here + generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class Records(Collector):
    """What the database tells at this moment."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the figures; where the database does not answer, only that."""
        try:
            found = list(_figures())
        except Error:
            connection.close()
            found = []
        yield GaugeMetricFamily("evenhand_database_up", "Whether the database answers", value=float(bool(found)))
        yield from found


def _figures() -> Iterator[GaugeMetricFamily]:
    work = GaugeMetricFamily("evenhand_work_items", "Pieces of work, by queue and state", labels=("queue", "state"))
    counts = _work()
    for queue in QUEUES:
        for state in (WorkItem.State.WAITING, WorkItem.State.LEASED):
            work.add_metric((queue, state), counts[queue, state])
    yield work

    workers = GaugeMetricFamily("evenhand_workers", "Workers seen within five minutes, by queue", labels=("queue",))
    seen = list(WorkerSign.objects.filter(seen_at__gte=timezone.now() - signs.SILENT_AFTER))
    for queue in QUEUES:
        workers.add_metric((queue,), len(signs.alive(queue, seen)))
    yield workers

    failed = Stage.objects.filter(state=Stage.State.FAILED, study__state=Study.State.PREPARING)
    yield GaugeMetricFamily(
        "evenhand_stages_failed", "Stages that stopped, of studies in preparation", value=failed.count()
    )

    studies = GaugeMetricFamily("evenhand_studies", "Studies, by state", labels=("state",))
    by_state = dict(Study.objects.order_by().values_list("state").annotate(n=Count("pk")))
    for name in Study.State.values:
        studies.add_metric((name,), by_state.get(name, 0))
    yield studies

    count = Rating.objects.count()
    yield GaugeMetricFamily("evenhand_ratings_stored", "Ratings of all studies, corrected ones too", value=count)


def _work() -> Counter[tuple[str, str]]:
    """Count waiting and leased items of all kinds, by queue and state."""
    counts: Counter[tuple[str, str]] = Counter()
    for kind in WorkItem.__subclasses__():
        items = kind.objects.unfinished().order_by().values_list("queue", "state")
        for queue, state, count in items.annotate(n=Count("pk")):
            counts[queue, state] += count
    return counts
