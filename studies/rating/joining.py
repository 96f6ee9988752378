"""Serve the enrolment links: an open one for anybody, and a panel's, which names the person.

GET shows a page and changes nothing, because link scanners open links; POST enrols and redirects to the evaluator's own
link. Whoever comes back with the same panel id, or in the same browser, is redirected to the link they have already.
"""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from evenhand.studies.access import link_for, study_to_join
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import DraftError, configuration_of
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.enrolment import EnrolmentError, enrol
from evenhand.studies.rating.language import speaking
from evenhand.studies.rating.pages import refusal
from evenhand.studies.rating.progress import state_without_trials
from evenhand.studies.rating.views import quiet

COOKIE_DAYS = 90
LONGEST_ID = 200


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
    ids = _panel_ids(request, configuration)
    key = ids.get(configuration.panel_parameters[0])
    bad_name = next((name for name, value in ids.items() if len(value) > LONGEST_ID or "\0" in value), None)
    if bad_name:
        return refusal(request, 400, "bad_link", bad_name)
    evaluator = _returning_evaluator(request, study, key)
    if evaluator is not None:
        return _redirect(evaluator, study, language)
    if study.state != Study.State.COLLECTING:
        return refusal(request, 403, state_without_trials(study))
    if request.method != "POST":
        return render(request, "rating/join.html", {"given": ids, "language": language})
    try:
        evaluator = enrol(study, external_ids=ids, external_key=key)
    except EnrolmentError as error:
        return refusal(request, 403, "not_open", str(error))
    return _redirect(evaluator, study, language)


def _panel_ids(request: HttpRequest, configuration: StudyConfiguration) -> dict[str, str]:
    """Return the panel's parameters from the link or the form, without empty values."""
    source: Any = request.POST if request.method == "POST" else request.GET
    ids = {name: str(source.get(name, "")).strip() for name in configuration.panel_parameters}
    return {name: value for name, value in ids.items() if value}


def _returning_evaluator(request: HttpRequest, study: Study, key: str | None) -> Evaluator | None:
    """Return the evaluator who comes back, by the panel's id, or without one by this browser's cookie."""
    evaluators = Evaluator.objects.filter(study=study)
    if key is not None:
        return evaluators.filter(external_key=key).first()
    try:
        public_id = request.get_signed_cookie(_cookie(study), default=None, max_age=COOKIE_DAYS * 86400)
    except signing.BadSignature:
        return None
    return evaluators.filter(public_id=public_id, external_key=None).first() if public_id else None


def _redirect(evaluator: Evaluator, study: Study, language: str) -> HttpResponseBase:
    """Redirect to the evaluator's link; a cookie recognises this browser where there is no panel's id."""
    response = redirect(f"{link_for(evaluator)}?lang={language}")
    if evaluator.external_key is None:
        response.set_signed_cookie(
            _cookie(study), evaluator.public_id, max_age=COOKIE_DAYS * 86400, httponly=True, samesite="Lax", path="/j/"
        )
    return response


def _cookie(study: Study) -> str:
    """Return the name of a study's cookie."""
    return f"evenhand-study-{study.pk}"
