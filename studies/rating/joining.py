"""Serve the enrolment links: an open one for anybody, and a panel's, which names the person.

GET shows a page and changes nothing, because link scanners open links; POST enrols and redirects to the evaluator's own
link. Whoever comes back in the same browser, or with the panel's ids of the same submission, is redirected to the link
they have already; with the panel's id of the person alone nobody is.
"""

from __future__ import annotations

import math
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from evenhand.studies.access import link_for, study_to_join
from evenhand.studies.arrivals import seconds_to_wait
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import DraftError, configuration_of
from evenhand.studies.kept_out import took_part_before
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating import identity
from evenhand.studies.rating.display import display_of
from evenhand.studies.rating.ends import end_of_visitor
from evenhand.studies.rating.enrolment import EnrolmentError, enrol, evaluator_of_panel, is_full
from evenhand.studies.rating.language import speaking
from evenhand.studies.rating.pages import message, refusal
from evenhand.studies.rating.progress import state_without_trials
from evenhand.studies.rating.views import quiet


@csrf_exempt  # it only makes a new evaluator; the token in the path is the permission
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponseBase:
    """Show the page of an enrolment link, or enrol."""
    try:
        with speaking(request) as language:
            return quiet(_join(request, study_to_join(token), language))
    except Http404:
        with speaking(request):
            return quiet(refusal(request, 404, "unknown_link"))
    except RequestDataTooBig:
        with speaking(request, body=False):
            return quiet(refusal(request, 413, "too_large"))


def _join(request: HttpRequest, study: Study, language: str) -> HttpResponseBase:
    try:
        configuration = configuration_of(study)
    except DraftError as error:
        raise Http404("no such link") from error
    source: Any = request.POST if request.method == "POST" else request.GET
    try:
        ids = identity.panel_ids(source, configuration)
    except identity.LostId:
        if request.method != "HEAD":
            identity.count_lost(study)
        return message(request, 400, "lost_id", configuration)
    except identity.BadId as error:
        return message(request, 400, "bad_link", configuration, detail=str(error))
    key = ids.get(configuration.panel_parameters[0])
    evaluator = _known(request, study, key)
    proven = evaluator is not None and identity.is_proven(
        evaluator, ids, identity.cookie_of(request, study), configuration
    )
    if request.method == "POST" and not proven and (seconds := seconds_to_wait(request, study)):
        return _later(request, configuration, seconds)
    if evaluator is not None and (proven or request.method == "POST"):
        return _come_back(request, evaluator, ids, configuration, language, proven=proven)
    if study.state != Study.State.COLLECTING:
        return _stranger(request, state_without_trials(study), configuration, ids)
    if took_part_before(study, key, identity.cookies_of(request)):
        return message(request, 403, "kept_out", configuration, end=end_of_visitor(configuration, "already", ids))
    if is_full(study):
        return _stranger(request, "full", configuration, ids)
    if request.method != "POST":
        return render(request, "rating/join.html", _context(study, configuration, ids, language))
    try:
        evaluator = enrol(study, external_ids=ids, external_key=key)
    except EnrolmentError as error:
        return refusal(request, 403, "not_open", str(error))
    return _redirect(evaluator, study, language)


def _known(request: HttpRequest, study: Study, key: str | None) -> Evaluator | None:
    """Return the evaluator whom the panel's id names, or without one this browser's cookie."""
    if key is not None:
        return evaluator_of_panel(study, key)
    public_id = identity.cookie_of(request, study)
    return Evaluator.objects.filter(study=study, public_id=public_id).first() if public_id else None


def _come_back(
    request: HttpRequest,
    evaluator: Evaluator,
    ids: dict[str, str],
    configuration: StudyConfiguration,
    language: str,
    *,
    proven: bool,
) -> HttpResponseBase:
    """Lead somebody whom the study knows to their place, or say why not; ids of a later visit wait for the POST."""
    if not proven:
        ended = evaluator.finished_at or evaluator.withdrawn_at or evaluator.screened_out_at
        return _stranger(request, "already" if ended else "elsewhere", configuration, ids)
    if request.method == "POST":
        identity.store_visit(evaluator, ids)
    elif identity.is_new_visit(evaluator, ids):
        context = _context(evaluator.study, configuration, ids, language) | {"returning": True}
        return render(request, "rating/join.html", context)
    return _redirect(evaluator, evaluator.study, language)


def _stranger(
    request: HttpRequest, end: str, configuration: StudyConfiguration, ids: dict[str, str]
) -> HttpResponseBase:
    """Tell somebody who does not come in why, with the panel's way back."""
    return message(request, 403, end, configuration, end=end_of_visitor(configuration, end, ids))


def _later(request: HttpRequest, configuration: StudyConfiguration, seconds: int) -> HttpResponseBase:
    """Tell somebody that too many come in at once, and when to come again by the same link."""
    response = message(request, 429, "too_many", configuration, detail=str(math.ceil(seconds / 60)))
    response["Retry-After"] = str(seconds)
    return response


def _context(study: Study, configuration: StudyConfiguration, ids: dict[str, str], language: str) -> dict[str, Any]:
    return {
        "configuration": configuration,
        "given": ids,
        "language": language,
        "too_small": end_of_visitor(configuration, "too_small", ids),
        "display": display_of(study),
    }


def _redirect(evaluator: Evaluator, study: Study, language: str) -> HttpResponseBase:
    """Redirect to the evaluator's link; a cookie recognises this browser when it comes back."""
    response = redirect(f"{link_for(evaluator)}?lang={language}")
    identity.set_cookie(response, evaluator, study)
    return response
