"""Let a study admin download a study's bundle, and show the roots of those that were written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from evenhand.errors import InputError
from evenhand.studies import audit
from evenhand.studies.access import Right, study_of
from evenhand.studies.bundle.writing import Download, folder_name
from evenhand.studies.models import AuditEvent, Replication, Study

LARGEST = 4 * 2**30  # bytes of a download; a larger bundle is written by the command
ROOTS_SHOWN = 5


@login_required
@require_POST
def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Stream a study's bundle as a zip file; its root is recorded before the first byte is sent."""
    study = study_of(request.user, pk, Right.READ)
    try:
        bundle = Download(study, anonymous="anonymous" in request.POST, largest=LARGEST)
    except InputError as error:
        messages.error(request, str(error))
        return redirect("console:study", pk=pk)
    collected = bundle.collected
    assert isinstance(request.user, AbstractBaseUser)
    audit.record_bundle(
        study, root=collected.root, anonymous=collected.anonymous, size=collected.size, actor=request.user
    )
    response = StreamingHttpResponse(bundle, content_type="application/zip")
    response["Content-Disposition"] = f'attachment; filename="{folder_name(collected)}.zip"'
    response["Cache-Control"] = "private, no-store"
    return response


def bundle_context(study: Study, events: Sequence[AuditEvent]) -> dict[str, Any]:
    """Return what the study's page shows: the latest bundles that were written, and the one that it was opened from.

    events: of the study, the newest first; others than those of bundles are passed over.
    """
    written = [event for event in events if event.action == audit.BUNDLE]
    replication = Replication.objects.filter(study=study).defer("ratings").first()
    return {"bundles": written[:ROOTS_SHOWN], "replication": replication}
