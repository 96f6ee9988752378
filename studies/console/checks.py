"""Show a study's example, practice and check pairs to its admin, and exchange them before the study is opened."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from evenhand.studies.access import Right, allows, role_in, study_of
from evenhand.studies.check_exchange import (
    ExchangeError,
    StaleExchangeError,
    exchange_fault,
    exchange_prompt,
    other_faults,
)
from evenhand.studies.models import CheckPair, Study

FAULTS = {CheckPair.Fault.DAMAGED: "damaged copy", CheckPair.Fault.OTHER_PROMPT: "picture of another text"}
USES = {
    CheckPair.Use.EXAMPLE: "Example in the instructions",
    CheckPair.Use.PRACTICE: "Practice",
    CheckPair.Use.ATTENTION: "Attention check",
}


@login_required
@require_GET
def checks(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the check pairs, with buttons that exchange them while the study is ready."""
    study = study_of(request.user, pk, Right.READ)
    rows = study.check_pairs.select_related("study__current_version", "prompt", "better", "worse__prompt")
    may_exchange = study.state == Study.State.READY and allows(role_in(study), Right.CHANGE)
    pairs = [
        {
            "pair": pair,
            "use": USES[CheckPair.Use(pair.use)],
            "fault": FAULTS[CheckPair.Fault(pair.fault)],
            "others": [(fault.value, FAULTS[fault]) for fault in other_faults(pair)] if may_exchange else [],
        }
        for pair in rows
    ]
    return render(request, "console/checks.html", {"study": study, "pairs": pairs, "may_exchange": may_exchange})


@login_required
@require_POST
def exchange(request: HttpRequest, pk: int, number: int) -> HttpResponse:
    """Exchange a check pair's prompt or fault; a second press of a button changes nothing more."""
    study = study_of(request.user, pk)
    pair = get_object_or_404(study.check_pairs.select_related("study", "prompt", "better__prompt"), number=number)
    assert isinstance(request.user, AbstractBaseUser)
    fault = request.POST.get("fault", "")
    try:
        if request.POST.get("seen") != f"{pair.better_id} {pair.worse_id}":
            raise StaleExchangeError(f"check pair {number + 1} was exchanged meanwhile")
        if fault:
            exchange_fault(pair, fault, actor=request.user)
        else:
            exchange_prompt(pair, actor=request.user)
    except StaleExchangeError as error:
        messages.info(request, f"{error}; here is how it is now.".capitalize())
    except ExchangeError as error:
        messages.error(request, str(error))
    return redirect(reverse("console:checks", args=[pk]) + f"#pair{number + 1}")
