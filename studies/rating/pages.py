"""Render what an evaluator sees, as a page or as JSON, without kind, pair or arm."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language, gettext

from evenhand.studies.access import completion_code
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.criteria import Criterion
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import CheckPair, Evaluator, Trial
from evenhand.studies.panels import CODE
from evenhand.studies.procedure import TRIES
from evenhand.studies.rating import answers, introduction
from evenhand.studies.rating.progress import Progress, State

SECONDS_PER_TRIAL = 12  # first estimate; the page then measures the evaluator's own pace
PAGES = (State.CONSENT, State.INSTRUCTIONS, State.COMPREHENSION, State.BREAK, State.TRIAL, State.FINISHED)
SIDES = ("left", "right")


def wants_json(request: HttpRequest) -> bool:
    """Whether the client asked for JSON; a browser that navigates asks for HTML."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def show(request: HttpRequest, evaluator: Evaluator, token: str, progress: Progress) -> HttpResponse:
    """Render the page or the JSON of an evaluator's progress."""
    if wants_json(request):
        return JsonResponse(body(token, progress))
    configuration = configuration_of(evaluator.study)
    context = {
        "study": evaluator.study,
        "configuration": configuration,
        "question": gettext(criterion_of(configuration, progress).question),
        "progress": progress,
        "token": token,
        "what": progress.state,
    }
    page = State.TRIAL if progress.state == State.PRACTICE else progress.state
    if page == State.TRIAL:
        context |= _trial(token, configuration, progress)
    elif page == State.CONSENT:
        context |= _consent(configuration, request)
    elif page == State.INSTRUCTIONS:
        context |= _instructions(evaluator, token, configuration)
    elif page == State.COMPREHENSION:
        context |= {
            "tries_left": TRIES - evaluator.comprehension_tries,
            "options": options_of(configuration.criteria[0]),
        }
    elif page == State.FINISHED:
        context |= _finished(evaluator, configuration)
    elif page == State.BREAK:
        context["minutes"] = minutes_for(progress.of - progress.position + 1)
    template = page if page in PAGES else "message"
    return render(request, f"rating/{template}.html", context)


def minutes_for(trials: int) -> int:
    """Estimate the minutes that so many trials take, at least one."""
    return max(1, round(trials * SECONDS_PER_TRIAL / 60))


def criterion_of(configuration: StudyConfiguration, progress: Progress) -> Criterion:
    """Return what the open trial asks; before there is one, the study's first criterion."""
    return configuration.criteria[progress.trial.criterion if progress.trial else 0]


def options_of(criterion: Criterion) -> list[tuple[int, str, str]]:
    """Return choice, text and key of each option, from left to right."""
    texts = [gettext(text) for text in criterion.options]
    return list(zip(answers.CHOICES, texts, "12345", strict=True))


def _trial(token: str, configuration: StudyConfiguration, progress: Progress) -> dict[str, Any]:
    assert progress.trial is not None
    practice = progress.state == State.PRACTICE
    return {
        "trial": trial_body(token, progress),
        "practice": practice,
        "preload": body(token, progress)["preload"],
        "options": options_of(criterion_of(configuration, progress)),
        "key": uuid.uuid4(),
        "minutes": minutes_for(progress.of - progress.position + 1),
        "seconds_per_trial": SECONDS_PER_TRIAL,
        "corrects": progress.corrects,
        "may_go_back": configuration.allow_correction and progress.corrects is None and not practice,
    }


def _consent(configuration: StudyConfiguration, request: HttpRequest) -> dict[str, Any]:
    trials = configuration.trials_per_evaluator + configuration.attention_checks + configuration.repeats
    return {
        "consent": gettext(configuration.consent),
        "options": options_of(configuration.criteria[0]),
        "trials": trials,
        "minutes": minutes_for(trials + configuration.practice_trials),
        "language": get_language(),
        "languages": settings.LANGUAGES,
        "address": request.path,
    }


def _instructions(evaluator: Evaluator, token: str, configuration: StudyConfiguration) -> dict[str, Any]:
    example = introduction.example_of(evaluator)
    pictures = [reverse("rating:example", args=[token, side]) for side in SIDES]
    return {
        "options": options_of(configuration.criteria[0]),
        "example": example,
        "pictures": pictures,
        "damaged": example is not None and example.fault == CheckPair.Fault.DAMAGED,
    }


def _finished(evaluator: Evaluator, configuration: StudyConfiguration) -> dict[str, Any]:
    if not configuration.completion_code and evaluator.external_key is None:
        return {}
    code = completion_code(evaluator, configuration.completion_code)
    return {"code": code, "return_to": configuration.completion_url.replace(CODE, code)}


# ------------------------------------------------------------------------------ JSON


def body(token: str, progress: Progress) -> dict[str, Any]:
    """Return an evaluator's progress as JSON. ``preload``: addresses of pictures that the page may fetch early."""
    if not progress.rates:
        return {"state": progress.state, "trial": None}
    answer = progress.corrects
    return {
        "state": progress.state,
        "trial": trial_body(token, progress),
        **({"corrects": str(answer.key), "choice": answer.choice} if answer else {}),
        "preload": [list(picture_paths(token, trial)) for trial in progress.ahead],
    }


def trial_body(token: str, progress: Progress) -> dict[str, Any]:
    """Return one trial as the page needs it."""
    trial = progress.trial
    assert trial is not None
    left, right = picture_paths(token, trial)
    return {
        "id": str(trial.public_id),
        "prompt": progress.prompt,
        "left": left,
        "right": right,
        "position": progress.position,
        "of": progress.of,
    }


def picture_paths(token: str, trial: Trial) -> tuple[str, str]:
    """Return the addresses of a trial's two pictures."""
    left, right = (reverse(f"rating:{side}", args=[token, trial.public_id]) for side in SIDES)
    return left, right


def refusal(request: HttpRequest, status: int, reason: str, text: str = "", **more: Any) -> HttpResponse:
    """Respond that nothing was stored, as a page or as JSON."""
    if wants_json(request):
        return JsonResponse({"accepted": False, "reason": reason, "detail": text, **more}, status=status)
    return render(request, "rating/message.html", {"what": reason, "detail": text}, status=status)
