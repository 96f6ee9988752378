"""Serve all that is stored of one evaluator, and delete it, for owners whom the person has asked."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET, require_POST

from evenhand.studies import audit
from evenhand.studies.access import Right
from evenhand.studies.console.downloads import file_name
from evenhand.studies.console.evaluators import back_to_people
from evenhand.studies.console.people import person_of
from evenhand.studies.personal_data import record_of
from evenhand.studies.rating.withdrawal import withdraw


@login_required
@require_GET
def export(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Serve the person's record as a JSON file; the download is recorded."""
    person, actor = person_of(request, pk, evaluator, Right.OWN)
    response = JsonResponse(record_of(person), json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = f'attachment; filename="{file_name(person.study)}-e{person.pk}.json"'
    audit.record(person.study, audit.PERSON, actor=actor, evaluator=person.pk)
    return response


@login_required
@require_POST
def delete(request: HttpRequest, pk: int, evaluator: int) -> HttpResponse:
    """Withdraw the person and delete answers and ids, where their number was typed; it cannot be undone."""
    person, actor = person_of(request, pk, evaluator, Right.OWN)
    number = f"e{person.pk}"
    if request.POST.get("number", "").strip() != number:
        messages.error(request, f"To delete what is stored of this person, type {number}. Nothing was changed.")
    elif person.deleted_at is not None:
        messages.error(request, f"What {number} gave was deleted before.")
    else:
        withdraw(person, delete=True, actor=actor)
        messages.success(request, f"{number} has withdrawn; their answers and ids are deleted.")
    return back_to_people(request, pk)
