"""The evaluator's pages: GET shows where they stand and changes nothing, POST takes consent and answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from studies.access import evaluator_for
from studies.drafts import configuration_of
from studies.models import Evaluator, Trial
from studies.pipeline.storage import image_path
from studies.rating import answers, enrolment
from studies.rating.answers import Standing
from studies.rating.forms import AnswerForm, SkipForm
from studies.rating.withdrawal import withdraw

SECONDS_PER_TRIAL = 12  # the first estimate of the time left; the page then goes by the evaluator's own pace
View = Callable[..., HttpResponseBase]


def for_evaluator(view: View) -> View:
    """Resolve the token; keep the address out of referrers and shared caches; refuse in the form that was asked for."""

    @csrf_exempt  # the token in the path is the credential, and no cookie is read
    @wraps(view)
    def wrapped(request: HttpRequest, token: str, **arguments: Any) -> HttpResponseBase:
        try:
            response = view(request, evaluator_for(token), token=token, **arguments)
        except Http404:
            response = refusal(request, 404, "unknown_link")
        response["Referrer-Policy"] = "no-referrer"
        response["X-Robots-Tag"] = "noindex"
        response.setdefault("Cache-Control", "private, no-store")
        return response

    return wrapped


@for_evaluator
@require_safe
def home(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Where the evaluator stands; with ``?back=1`` the last answered trial, if the study lets it be corrected."""
    standing = answers.standing_of(evaluator)
    if request.GET.get("back") and configuration_of(evaluator.study).allow_correction:
        standing = answers.last_answer_of(evaluator, standing)
    return show(request, evaluator, token, standing)


@for_evaluator
@require_POST
def give_consent(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Take the consent and hand out a booklet; repeated, it changes nothing."""
    if answers.standing_of(evaluator).state == "consent":
        if not request.POST.get("agree"):
            return refusal(request, 400, "consent_missing", "Please tick the box if you agree to take part.")
        try:
            enrolment.consent(evaluator)
        except enrolment.EnrolmentError as error:
            return refusal(request, 403, "full", str(error))
    return accepted(request, evaluator, token)


@for_evaluator
@require_POST
def rate(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Take one answer; it is acknowledged after its transaction has been committed."""
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return refusal(request, 400, "invalid", form.problems())
    given = form.cleaned_data
    try:
        answers.record_rating(
            evaluator=evaluator,
            trial_id=given["trial"],
            choice=given["choice"],
            key=given["key"],
            elapsed_ms=given["elapsed_ms"],
            corrects=given["corrects"],
            viewport=form.viewport(),
        )
    except answers.AnswerError as error:
        return refused(request, evaluator, token, error)
    return accepted(request, evaluator, token)


@for_evaluator
@require_POST
def skip(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Leave the open trial without an answer, or report it."""
    form = SkipForm(request.POST)
    if not form.is_valid():
        return refusal(request, 400, "invalid", form.problems())
    given = form.cleaned_data
    try:
        answers.skip_trial(evaluator=evaluator, trial_id=given["trial"], reason=given["reason"], note=given["note"])
    except answers.AnswerError as error:
        return refused(request, evaluator, token, error)
    return accepted(request, evaluator, token)


def accepted(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """What was sent is stored: the next trial, or wherever the evaluator stands now."""
    standing = after_change(evaluator)
    if wants_json(request):
        return JsonResponse({"accepted": True, "next": body(token, standing)})
    return redirect("rating:home", token=token)


def refused(request: HttpRequest, evaluator: Evaluator, token: str, error: answers.AnswerError) -> HttpResponseBase:
    """Nothing was stored. A browser with a stale page is shown where it stands."""
    if isinstance(error, answers.Conflict):
        if not wants_json(request):
            return redirect("rating:home", token=token)
        return refusal(request, 409, "conflict", str(error), next=body(token, answers.standing_of(evaluator)))
    if isinstance(error, answers.UnknownTrial):
        return refusal(request, 404, "unknown_trial", str(error))
    return refusal(request, 403, "not_collecting", str(error))


@for_evaluator
@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: HttpRequest, evaluator: Evaluator, token: str) -> HttpResponseBase:
    """Ask whether to withdraw, and do it."""
    if request.method == "POST":
        withdraw(evaluator, delete=request.POST.get("delete") == "1")
        return redirect("rating:home", token=token)
    context = {"token": token, "already": evaluator.withdrawn_at is not None}
    return render(request, "rating/withdraw.html", context)


@for_evaluator
@require_safe
def picture(request: HttpRequest, evaluator: Evaluator, token: str, trial: uuid.UUID, side: str) -> HttpResponseBase:
    """One picture of one of the evaluator's own trials; the address says only on which side it stands."""
    found = (
        Trial.objects.filter(public_id=trial, booklet__evaluator=evaluator)
        .select_related("left_image", "right_image")
        .first()
    )
    if found is None:
        raise Http404("no such trial")
    image = found.left_image if side == "left" else found.right_image
    try:
        response = FileResponse(image_path(image.sha256).open("rb"), content_type="image/png")
    except (FileNotFoundError, ValueError) as error:
        raise Http404("no such picture") from error
    response["Content-Disposition"] = "inline"
    response["Cache-Control"] = "private, max-age=86400, immutable"
    return response


# ------------------------------------------------------------------------------ what is shown


def after_change(evaluator: Evaluator) -> Standing:
    """The new standing after a POST, with its moments written down."""
    standing = answers.standing_of(evaluator)
    answers.note_shown(standing)
    answers.finish_if_done(evaluator, standing)
    return standing


def show(request: HttpRequest, evaluator: Evaluator, token: str, standing: Standing) -> HttpResponse:
    """The page, or the JSON, of a standing."""
    if wants_json(request):
        return JsonResponse(body(token, standing))
    configuration = configuration_of(evaluator.study)
    context: dict[str, Any] = {
        "study": evaluator.study,
        "configuration": configuration,
        "standing": standing,
        "token": token,
    }
    if standing.trial is not None:
        context |= {
            "trial": trial_body(token, standing.trial, standing.of),
            "preload": body(token, standing)["preload"],
            "options": list(zip(answers.CHOICES, configuration.options, "12345", strict=True)),
            "key": uuid.uuid4(),
            "minutes": max(1, round((standing.of - standing.trial.position + 1) * SECONDS_PER_TRIAL / 60)),
            "seconds_per_trial": SECONDS_PER_TRIAL,
            "corrects": standing.corrects,
            "may_go_back": configuration.allow_correction and standing.corrects is None,
        }
    if standing.state == "consent":
        context["minutes"] = max(1, round(configuration.trials_per_evaluator * SECONDS_PER_TRIAL / 60))
    template = standing.state if standing.state in ("consent", "trial", "finished") else "message"
    return render(request, f"rating/{template}.html", context | {"what": standing.state})


def body(token: str, standing: Standing) -> dict[str, Any]:
    """The JSON of a standing: nothing of kind, pair or arm. ``preload``: pictures that the page may fetch ahead."""
    if standing.trial is None:
        return {"state": standing.state, "trial": None}
    given = standing.corrects
    return {
        "state": standing.state,
        "trial": trial_body(token, standing.trial, standing.of),
        **({"corrects": str(given.key), "choice": given.choice} if given else {}),
        "preload": [list(picture_paths(token, trial)) for trial in standing.ahead],
    }


def trial_body(token: str, trial: Trial, of: int) -> dict[str, Any]:
    """One trial as the page needs it."""
    left, right = picture_paths(token, trial)
    prompt = trial.pair.prompt if trial.pair is not None else trial.left_image.prompt
    return {
        "id": str(trial.public_id),
        "prompt": prompt.text,
        "left": left,
        "right": right,
        "position": trial.position,
        "of": of,
    }


def picture_paths(token: str, trial: Trial) -> tuple[str, str]:
    """The addresses of a trial's two pictures."""
    left, right = (reverse(f"rating:{side}", args=[token, trial.public_id]) for side in ("left", "right"))
    return left, right


def wants_json(request: HttpRequest) -> bool:
    """Whether the client asked for JSON (a browser that navigates asks for HTML)."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def refusal(request: HttpRequest, status: int, reason: str, text: str = "", **more: Any) -> HttpResponse:
    """An answer that nothing was stored, as a page or as JSON."""
    if wants_json(request):
        return JsonResponse({"accepted": False, "reason": reason, "detail": text, **more}, status=status)
    return render(request, "rating/message.html", {"what": reason, "detail": text}, status=status)
