"""Let a study's owner compare its people with a panel's table, and download whom to approve and whom to pay a bonus."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.access import Right, own_codes, study_of
from evenhand.studies.console.evaluator_table import Line, people_lines
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.reconciling import Here, read_submissions
from evenhand.studies.reconciling import reconcile as compare

LISTS = (
    ("both", "Complete on both sides"),
    ("only_here", "Complete here, not there"),
    ("only_there", "Approved there, not complete here"),
    ("wrong_code", "No code there, or a wrong one"),
    ("unknown", "Unknown here"),
)
LARGEST_BONUS = Decimal(1000)


@login_required
@require_http_methods(["GET", "POST"])
def reconcile(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the five lists of an uploaded table, or hand back a file of those who were ticked; nothing is stored."""
    study = study_of(request.user, pk, Right.OWN)
    assert isinstance(request.user, AbstractBaseUser)
    context: dict[str, Any] = {"study": study}
    try:
        if request.POST.get("file"):
            return _file(request, study)
        if request.method == "POST":
            table = request.FILES.get("table")
            if not isinstance(table, UploadedFile):
                raise InputError("choose the panel's table")
            configuration = configuration_of(study)
            submissions = read_submissions(table.read(), next(iter(configuration.panel_parameters), ""))
            found = compare(people_here(study), submissions)
            audit.record(study, "panel compared", actor=request.user, rows=len(submissions))
            context |= {
                "found": found,
                "lists": [(name, title, getattr(found, name)) for name, title in LISTS],
                "approve": {each.pk for each in found.to_approve},
            }
    except InputError as error:
        messages.error(request, str(error))
        return redirect("console:reconcile", pk=pk)
    return render(request, "console/reconcile.html", context)


def people_here(study: Study) -> list[Here]:
    """Return whoever came from the panel and whose id is still kept."""
    people = Evaluator.objects.filter(study=study, simulated=False, external_key__isnull=False)
    return [
        Here(
            line.person.pk,
            line.person.public_id[:6],
            line.person.external_key or "",
            line.state,
            line.end == "finished",
            line.code,
            _older_codes(line),
        )
        for line in people_lines(study, configuration_of(study), people)
    ]


def _older_codes(line: Line) -> tuple[str, ...]:
    """Return a person's own codes under older secrets; none where the study gives everybody its own."""
    newest, *older = own_codes(line.person)
    return tuple(older) if line.code == newest else ()


def _file(request: HttpRequest, study: Study) -> HttpResponse:
    """Return the panel's ids of the ticked people: one a line, or each with the bonus."""
    assert isinstance(request.user, AbstractBaseUser)
    named = request.POST.getlist("person")
    ticked = [int(each) for each in named if each.isascii() and each.isdigit() and len(each) < 19]
    people = Evaluator.objects.filter(study=study, pk__in=ticked, external_key__isnull=False).order_by("pk")
    ids = [person.external_key or "" for person in people]
    if not ids:
        raise InputError("tick somebody first; nothing was written")
    bonus = request.POST["file"] == "bonus"
    suffix = f",{_amount(request.POST.get('amount', ''))}" if bonus else ""
    name = "bonus" if bonus else "approve"
    audit.record(study, "panel file written", actor=request.user, file=f"{name}.csv", people=len(ids))
    response = HttpResponse("".join(f"{each}{suffix}\n" for each in ids), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


def _amount(text: str) -> str:
    """Return a bonus in the panel's currency, with two decimals."""
    try:
        amount = Decimal(text.strip().replace(",", "."))
    except InvalidOperation as error:
        raise InputError(f"“{text}” is no amount; write for example 1.50") from error
    if not (amount.is_finite() and 0 < amount <= LARGEST_BONUS):
        raise InputError(f"a bonus lies above 0 and is at most {LARGEST_BONUS}")
    return f"{amount:.2f}"
