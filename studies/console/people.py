"""Show a study's people, searched, sorted and by pages; change a note, a link, a place."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_POST

from evenhand.studies import links
from evenhand.studies.access import Right, allows, role_in, studies_of, study_of
from evenhand.studies.assignment.reassignment import absent_evaluators
from evenhand.studies.console.evaluator_table import people_lines
from evenhand.studies.console.evaluators import back_to_people
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import ExclusionError, free_open_pairs, keep_open_pairs
from evenhand.studies.models import Evaluator, Exclusion, Study

PER_PAGE = 50
STATES = ("invited", "rating", "silent", "finished", "screened out", "withdrawn", "left out", "pilot")
SORTS = {
    "newest": ("the newest first", ("simulated", "-pk")),
    "oldest": ("the oldest first", ("simulated", "pk")),
    "note": ("by note", ("note", "pk")),
    "answers": ("most answers first", ("-answers", "pk")),
}


@login_required
@require_GET
def people(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one page of the people who were searched for."""
    study = get_object_or_404(studies_of(request.user).select_related("current_version"), pk=pk)
    configuration = configuration_of(study)
    q, state = request.GET.get("q", "").replace("\0", "").strip(), request.GET.get("state", "")
    role = role_in(study)
    # whoever is not shown the notes cannot search or sort by them either
    sorts = {name: label for name, (label, _) in SORTS.items() if name != "note" or allows(role, Right.CHANGE)}
    sort = request.GET.get("sort", "newest")
    sort = sort if sort in sorts else "newest"
    found = _in_state(study, state).filter(_matches(q, role))
    if sort == "answers":
        found = found.annotate(answers=Count("ratings", filter=Q(ratings__superseded=False)))
    page = Paginator(found.order_by(*SORTS[sort][1]), PER_PAGE).get_page(request.GET.get("page"))
    query = urlencode({name: text for name, text in (("q", q), ("state", state), ("sort", sort)) if text})
    context = {
        "study": study,
        "people": people_lines(study, configuration, page),
        "page": page,
        "q": q,
        "state": state,
        "sort": sort,
        "states": STATES,
        "sorts": sorts.items(),
        "rest": f"&{query}",
        "query": f"page={page.number}&{query}",
        "base": request.build_absolute_uri("/")[:-1],
    }
    return render(request, "console/people.html", context)


def _matches(q: str, role: str) -> Q:
    """Return the condition of a search, which reads what the role is shown."""
    if not q:
        return Q()
    found = Q(public_id__startswith=q)
    if allows(role, Right.CHANGE):
        found |= Q(note__icontains=q)
    return found | Q(external_key__icontains=q) if allows(role, Right.OWN) else found


def _in_state(study: Study, state: str) -> QuerySet[Evaluator]:
    """Return the study's people in one of ``STATES``; all for any other text."""
    found = Evaluator.objects.filter(study=study)
    open_people = found.filter(finished_at=None, withdrawn_at=None, screened_out_at=None)
    silent = absent_evaluators(study).filter(freed_at=None).values("pk")
    in_force = Exclusion.objects.filter(evaluator=OuterRef("pk"), lifted_at=None)
    choices = {
        "invited": lambda: open_people.filter(consented_at=None),
        "rating": lambda: open_people.filter(consented_at__isnull=False).exclude(pk__in=silent),
        "silent": lambda: open_people.filter(consented_at__isnull=False, pk__in=silent),
        "finished": lambda: found.filter(finished_at__isnull=False, withdrawn_at=None, screened_out_at=None),
        "screened out": lambda: found.filter(screened_out_at__isnull=False, withdrawn_at=None),
        "withdrawn": lambda: found.filter(withdrawn_at__isnull=False),
        "pilot": lambda: found.filter(pilot=True),
        "left out": lambda: found.filter(Exists(in_force)),
    }
    return choices[state]() if state in choices else found


def person_of(
    request: HttpRequest, pk: int, evaluator: int, right: Right = Right.CHANGE
) -> tuple[Evaluator, AbstractBaseUser]:
    """Return a study's person, and who asks, if their role has the right. Raises ``Http404``, ``PermissionDenied``."""
    study = study_of(request.user, pk, right)
    assert isinstance(request.user, AbstractBaseUser)
    return get_object_or_404(Evaluator, study=study, pk=evaluator), request.user


@login_required
@require_POST
def change_note(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Change the note on a person."""
    person, actor = person_of(request, pk, evaluator)
    try:
        links.change_note(person, request.POST.get("note", ""), actor=actor)
    except links.NoteError as error:
        messages.error(request, str(error))
    return back_to_people(request, pk)


@login_required
@require_POST
def renew_personal_link(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Make a person's link anew; the old one opens nothing any more."""
    person, actor = person_of(request, pk, evaluator)
    links.renew_personal_link(person, actor=actor)
    messages.success(request, "The link is new. The old one opens nothing any more.")
    return back_to_people(request, pk)


@login_required
@require_POST
def change_place(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Give a person's open pairs to others, or let them have those again."""
    person, actor = person_of(request, pk, evaluator)
    try:
        if request.POST.get("keep"):
            keep_open_pairs(person, actor=actor)
        else:
            free_open_pairs(person, actor=actor)
    except ExclusionError as error:
        messages.error(request, str(error))
    return back_to_people(request, pk)
