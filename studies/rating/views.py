"""Serve the evaluator's side over HTTP: POST takes consent and answers; a GET records a reached end at most."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from evenhand.studies.access import evaluator_for
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Rating, Trial
from evenhand.studies.rating import answers, enrolment, introduction
from evenhand.studies.rating.ends import end_of, from_panel
from evenhand.studies.rating.feedback_text import feedback_body, feedback_text
from evenhand.studies.rating.forms import AnswerForm, SkipForm
from evenhand.studies.rating.language import speaking
from evenhand.studies.rating.pages import body, label_of, message, refusal, show, wants_json
from evenhand.studies.rating.picture_files import WEBP_TYPE, picture_file
from evenhand.studies.rating.preview import PreviewOver, is_preview, walking
from evenhand.studies.rating.progress import Progress, State, last_answer_of, progress_of
from evenhand.studies.rating.statement import statement_of
from evenhand.studies.rating.withdrawal import withdraw

logger = logging.getLogger(__name__)

View = Callable[..., HttpResponseBase]


def quiet(response: HttpResponseBase) -> HttpResponseBase:
    """Keep an address that is a credential out of referrers, search engines and shared caches."""
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    response.setdefault("Cache-Control", "private, no-store")
    return response


def for_evaluator(view: View) -> View:
    """Resolve the token, translate into the evaluator's language, and refuse as a page or as JSON, as was asked for."""

    @csrf_exempt  # the token in the path is the credential; only a preview, where nothing is stored, reads a cookie
    @wraps(view)
    def wrapped(request: HttpRequest, token: str, **arguments: Any) -> HttpResponseBase:
        try:
            if is_preview(token):
                return _previewed(view, request, token, **arguments)
            evaluator = evaluator_for(token)
            with speaking(request, evaluator):
                return quiet(view(request, evaluator, token=token, **arguments))
        except PreviewOver as over:
            return redirect("console:study", pk=over.study)
        except Http404:
            with speaking(request):
                return quiet(refusal(request, 404, "unknown_link"))
        except RequestDataTooBig:
            with speaking(request, body=False):
                return quiet(refusal(request, 413, "too_large"))

    return wrapped


def _previewed(view: View, request: HttpRequest, token: str, **arguments: Any) -> HttpResponseBase:
    """Answer as for an evaluator; the address is no credential, and a form that leads out of it needs a referrer."""
    with walking(request, token) as evaluator, speaking(request, evaluator):
        response = quiet(view(request, evaluator, token=token, **arguments))
    response["Referrer-Policy"] = "same-origin"
    return response


@for_evaluator
@require_safe
def home(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Show the evaluator's step; with ``?back=1`` the last answered trial, if the study lets it be corrected.

    Where others' answers or a mark have left nothing to do, the end is recorded, as after a last answer.
    """
    progress = progress_of(evaluator)
    answers.finish_if_done(evaluator, progress)
    if request.GET.get("back") and configuration_of(evaluator.study).allow_correction:
        progress = last_answer_of(evaluator, progress)
    return show(request, evaluator, token, progress)


@for_evaluator
@require_POST
def give_consent(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Take the consent and give out a booklet; a repeated request changes nothing.

    The page says what was read, so that nobody agrees to a text that was changed meanwhile: they read the new one.
    """
    progress = progress_of(evaluator)
    if progress.state == State.CONSENT:
        configuration = configuration_of(evaluator.study)
        read = request.POST.get("read")
        if read is not None and read != statement_of(evaluator, configuration).sha256:
            response = show(request, evaluator, token, progress, changed=True)
            response.status_code = 409
            return response
        if not request.POST.get("agree"):
            return refusal(request, 400, "consent_missing", gettext("Please tick the box if you agree to take part."))
        of_age = bool(request.POST.get("of_age"))
        if configuration.minimum_age and not of_age:
            return refusal(request, 400, "consent_missing", gettext("Please confirm your age to take part."))
        language: str = request.LANGUAGE_CODE
        try:
            enrolment.consent(evaluator, language=language, age_confirmed=of_age)
        except enrolment.EnrolmentError as error:
            end = end_of(evaluator, configuration, "full")
            return message(request, 403, "full", configuration, end=end, detail=str(error))
    return accepted(request, evaluator, token, answers.after_change(evaluator))


@for_evaluator
@require_POST
def leave_step(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Leave the instructions or the announcement of a run, or end a break."""
    introduction.leave_step(evaluator, progress_of(evaluator))
    return accepted(request, evaluator, token, answers.after_change(evaluator))


@for_evaluator
@require_POST
def comprehension(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Take one try of the questions about the instructions."""
    if progress_of(evaluator).state == State.COMPREHENSION:
        try:
            key = uuid.UUID(request.POST["key"]) if "key" in request.POST else None
        except ValueError:
            return refusal(request, 400, "invalid", "key: give a UUID")
        introduction.answer_comprehension(evaluator, request.POST.dict(), key)
    return accepted(request, evaluator, token, answers.after_change(evaluator))


@for_evaluator
@require_POST
def rate(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Take one answer; the response is sent after its transaction has been committed."""
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return refusal(request, 400, "invalid", form.problems())
    fields = form.cleaned_data
    choice, both_bad = form.chosen()
    try:
        stored_answer = answers.store_answer(
            evaluator,
            answers.Answer(
                trial_id=fields["trial"],
                choice=choice,
                both_bad=both_bad,
                reasons=tuple(fields["reasons"]),
                remark=fields["remark"],
                key=fields["key"],
                elapsed_ms=fields["elapsed_ms"],
                corrects=fields["corrects"],
                viewport=form.viewport(),
            ),
        )
    except answers.AnswerError as error:
        return refused(request, evaluator, token, error)
    return accepted(request, evaluator, token, stored_answer.progress, stored_answer.rating)


@for_evaluator
@require_safe
def feedback(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Show feedback on the last practice answer, for a browser without JavaScript."""
    given = introduction.feedback_on(introduction.last_practice(evaluator))
    if given is None:
        return redirect("rating:home", token=token)
    label = label_of(progress_of(evaluator))
    context = {"token": token, "feedback": given, "text": feedback_text(given), "label": label}
    return render(request, "rating/feedback.html", context)


@for_evaluator
@require_POST
def skip(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Leave the open trial without an answer, or report it."""
    form = SkipForm(request.POST)
    if not form.is_valid():
        return refusal(request, 400, "invalid", form.problems())
    fields = form.cleaned_data
    try:
        answers.skip_trial(evaluator=evaluator, trial_id=fields["trial"], reason=fields["reason"], note=fields["note"])
    except answers.AnswerError as error:
        return refused(request, evaluator, token, error)
    return accepted(request, evaluator, token, answers.after_change(evaluator))


def accepted(
    request: HttpRequest, evaluator: Evaluator, token: str, progress: Progress, rating: Rating | None = None
) -> HttpResponseBase:
    """Respond that what was sent is stored, with the evaluator's next step."""
    given = introduction.feedback_on(rating)
    if wants_json(request):
        told = {} if given is None else {"feedback": feedback_body(given, progress)}
        step = body(token, configuration_of(evaluator.study), progress)
        return JsonResponse({"accepted": True, "next": step, **told})
    return redirect("rating:home" if given is None else "rating:feedback", token=token)


def refused(request: HttpRequest, evaluator: Evaluator, token: str, error: answers.AnswerError) -> HttpResponseBase:
    """Respond that nothing was stored. A browser with an outdated page is redirected to the evaluator's step."""
    if isinstance(error, answers.Conflict):
        if not wants_json(request):
            return redirect(f"{reverse('rating:home', args=[token])}?notice=stale")
        step = body(token, configuration_of(evaluator.study), progress_of(evaluator))
        return refusal(request, 409, "conflict", str(error), next=step)
    if isinstance(error, answers.Unasked):
        return refusal(request, 400, "invalid", str(error))
    if isinstance(error, answers.UnknownTrial):
        return refusal(request, 404, "unknown_trial", str(error))
    if wants_json(request):
        return refusal(request, 403, "not_collecting", str(error))
    evaluator.study.refresh_from_db(fields=["state"])
    response = show(request, evaluator, token, progress_of(evaluator))
    response.status_code = 403
    return response


@for_evaluator
@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Ask whether to withdraw, and do it."""
    if request.method == "POST":
        withdraw(evaluator, delete=request.POST.get("delete") == "1")
        return redirect("rating:home", token=token)
    context = {
        "token": token,
        "withdrawn": evaluator.withdrawn_at is not None,
        "deleted": evaluator.deleted_at is not None,
        "from_panel": from_panel(evaluator),
        "finished": evaluator.finished_at is not None,
        "configuration": configuration_of(evaluator.study),
    }
    return render(request, "rating/withdraw.html", context)


# ------------------------------------------------------------------------------ pictures


@for_evaluator
@require_safe
def picture(request: HttpRequest, evaluator: Evaluator, token: str, trial: uuid.UUID, side: str) -> HttpResponseBase:
    """Serve one picture of one of the evaluator's own trials; the address says only on which side it stands."""
    trials = Trial.objects.filter(public_id=trial, booklet__evaluator=evaluator)
    hashes = trials.values_list("left_image__sha256", "right_image__sha256").first()
    if hashes is None:
        raise Http404("no such trial")
    return picture_response(request, *(hashes if side == "left" else reversed(hashes)))


@for_evaluator
@require_safe
def example(request: HttpRequest, evaluator: Evaluator, token: str, side: str) -> HttpResponseBase:
    """Serve a picture of the example in the instructions: the better one stands left."""
    pair = introduction.example_of(evaluator)
    if pair is None:
        raise Http404("no example")
    hashes = pair.better.sha256, pair.worse.sha256
    return picture_response(request, *(hashes if side == "left" else reversed(hashes)))


def picture_response(request: HttpRequest, sha256: str, beside: str) -> HttpResponseBase:
    """Respond with a picture, and with headers that are the same for the one beside it."""
    webp = any(f"{kind.main_type}/{kind.sub_type}" == WEBP_TYPE and kind.quality for kind in request.accepted_types)
    try:
        file = picture_file(sha256, beside, webp=webp)
    except (FileNotFoundError, ValueError) as error:
        raise Http404("no such picture") from error
    except OSError as error:  # the disk or the bucket
        logger.warning("a picture cannot be read: %s", error)
        return HttpResponse(status=503, headers={"Retry-After": "5", "Cache-Control": "no-store"})
    response = HttpResponse(file.data, content_type=file.content_type)
    response["Content-Disposition"] = "inline"
    response["Cache-Control"] = "private, max-age=86400, immutable"
    patch_vary_headers(response, ["Accept"])
    return response
