"""Show a study's audit log in words, by kind and page, and serve it as CSV."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_GET

from evenhand.studies.access import Right, study_of
from evenhand.studies.audit_in_words import KIND_OF, KINDS, actor_of, sentence_of
from evenhand.studies.console.downloads import csv_response
from evenhand.studies.models import AuditEvent, Study
from evenhand.studies.results.export.cells import moment, words

EVENTS_PER_PAGE = 100


@login_required
@require_GET
def audit_log(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the events, the newest first; ``?kind=`` picks one kind."""
    study = study_of(request.user, pk, Right.READ)
    kind = request.GET.get("kind", "")
    page = Paginator(_events(study, kind), EVENTS_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "study": study,
        "page": page,
        "rows": [(event, actor_of(event), sentence_of(event)) for event in page],
        "kinds": list(KINDS),
        "kind": kind,
        "filter": f"&kind={kind}" if kind else "",
    }
    return render(request, "console/audit_log.html", context)


@login_required
@require_GET
def audit_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream the events as CSV, the newest first: time (UTC), who, kind, action, and what happened in words."""
    study = study_of(request.user, pk, Right.READ)
    return csv_response(study, "audit", _lines(_events(study, request.GET.get("kind", ""))))


def _events(study: Study, kind: str) -> QuerySet[AuditEvent]:
    """Return the events of a kind, all where none is named; ``Http404`` for an unknown one."""
    events = study.events.select_related("actor").order_by("-at", "pk")
    if not kind:
        return events
    if kind not in KINDS:
        raise Http404(f"events are of the kinds {', '.join(KINDS)}")
    return events.filter(action__in=KINDS[kind])


def _lines(events: QuerySet[AuditEvent]) -> Iterator[str]:
    yield "at,actor,kind,action,event\n"
    for event in events.iterator(2000):
        kind = KIND_OF.get(event.action, "")
        cells = (moment(event.at), words(actor_of(event)), kind, words(event.action), words(sentence_of(event)))
        yield ",".join(cells) + "\n"
