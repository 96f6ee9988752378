"""Let admins name the earlier studies whose people are kept out of a study."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from evenhand.studies.access import study_of
from evenhand.studies.kept_out import earlier_studies, keep_out_people_of
from evenhand.studies.models import Study


@login_required
@require_http_methods(["GET", "POST"])
def kept_out(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the studies that may be named, and store which are."""
    study = study_of(request.user, pk)
    assert isinstance(request.user, AbstractBaseUser)
    offered = earlier_studies(study, request.user)
    if request.method == "POST":
        if study.state == Study.State.CLOSED:
            messages.error(request, f"“{study.name}” is closed: nobody comes in any more. Nothing was changed.")
        else:
            ticked = set(request.POST.getlist("earlier"))
            keep_out_people_of(study, [each for each in offered if str(each.pk) in ticked], actor=request.user)
            messages.success(request, "Stored. Who is in this study already stays in it.")
        return redirect("console:study", pk=pk)
    named = set(study.keeps_out.values_list("pk", flat=True))
    context = {
        "study": study,
        "offered": [{"study": each, "named": each.pk in named} for each in offered],
        "others": len(named - {each.pk for each in offered}),
    }
    return render(request, "console/kept_out.html", context)
