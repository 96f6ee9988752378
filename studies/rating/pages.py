"""Render what an evaluator sees, as a page or as JSON, without kind, pair or arm."""

from __future__ import annotations

import uuid
from itertools import zip_longest
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language, gettext

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.criteria import LETTERS, Criterion
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import CheckPair, Evaluator, Rating, Trial
from evenhand.studies.rating import answers, ends, introduction, promise
from evenhand.studies.rating.display import display_of
from evenhand.studies.rating.enrolment import is_full
from evenhand.studies.rating.progress import Progress, State
from evenhand.studies.rating.promise import SECONDS_PER_TRIAL
from evenhand.studies.rating.statement import statement_of

PAGES = (
    State.CONSENT,
    State.INSTRUCTIONS,
    State.COMPREHENSION,
    State.BREAK,
    State.QUESTION,
    State.TRIAL,
    State.FINISHED,
)
ENDS = (
    State.FINISHED,
    State.FULL,
    State.PAUSED,
    State.CLOSED,
    State.WITHDRAWN,
    State.SCREENED_OUT,
)
SIDES = ("left", "right")
DRAWS = 10_000  # resolution of the share of trials that ask for reasons


def wants_json(request: HttpRequest) -> bool:
    """Whether the client asked for JSON; a browser that navigates asks for HTML."""
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def show(
    request: HttpRequest, evaluator: Evaluator, token: str, progress: Progress, *, changed: bool = False
) -> HttpResponse:
    """Render the page or the JSON of an evaluator's progress. changed: the consent is not what was read before."""
    if progress.state == State.CONSENT and not (evaluator.simulated or evaluator.pilot) and is_full(evaluator.study):
        progress = Progress(State.FULL)  # told before the consent
    if wants_json(request):
        return JsonResponse(body(token, configuration_of(evaluator.study), progress))
    configuration = configuration_of(evaluator.study)
    context = {
        "study": evaluator.study,
        "configuration": configuration,
        "question": gettext(criterion_of(configuration, progress).question),
        "criteria": [question_of(configuration, criterion) for criterion in configuration.criteria],
        "progress": progress,
        "token": token,
        "what": progress.state,
        "changed": changed,
        "stale": request.GET.get("notice") == "stale",
    }
    page = State.TRIAL if progress.state == State.PRACTICE else progress.state
    if page == State.TRIAL:
        context |= _trial(evaluator, token, configuration, progress)
    elif page == State.CONSENT:
        context |= _consent(evaluator, configuration, request, token)
    elif page == State.INSTRUCTIONS:
        context |= _instructions(evaluator, token) | {"label": _after_instructions(configuration, progress)}
    elif page == State.COMPREHENSION:
        context |= _comprehension(evaluator, token, configuration)
    elif page in ENDS:
        context |= _end(evaluator, configuration, page)
    elif page == State.QUESTION:
        context |= {"asked": question_of(configuration, criterion_of(configuration, progress))}
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


def options_of(configuration: StudyConfiguration, criterion: Criterion) -> list[tuple[int | str, str, str]]:
    """Return choice, text and key of each option, from left to right; then “both are bad”, where the study has it."""
    texts = [gettext(text) for text in criterion.options]
    scale: list[tuple[int | str, str, str]] = list(zip(answers.CHOICES, texts, "12345", strict=True))
    both_bad = configuration.both_bad_option
    return [*scale, (answers.BOTH_BAD, gettext(both_bad), "6")] if both_bad else scale


def option_rows(configuration: StudyConfiguration, criterion: Criterion) -> list[dict[str, str]]:
    """Return the options as the trial page needs them: with a text for pictures that are not left and right, too."""
    letters = [gettext(LETTERS.get(text, text)) for text in criterion.options]
    rows = zip_longest(options_of(configuration, criterion), letters)
    return [
        {"choice": str(choice), "text": text, "letters": other or text, "digit": digit}
        for (choice, text, digit), other in rows
    ]


def question_of(configuration: StudyConfiguration, criterion: Criterion) -> dict[str, Any]:
    """Return a criterion as instructions and trials show it."""
    return {
        "question": gettext(criterion.question),
        "options": options_of(configuration, criterion),
        "hide_prompt": criterion.hide_prompt,
    }


def asks_of(configuration: StudyConfiguration, progress: Progress) -> dict[str, Any] | None:
    """Return what is asked after the answer to the open trial; None where nothing is.

    The trials that ask are drawn by their random public ids, so that a trial always asks the same.
    """
    trial = progress.trial
    if trial is None or progress.state == State.PRACTICE or not configuration.asks_reasons:
        return None
    if trial.public_id.int % DRAWS >= configuration.reasons_share * DRAWS:
        return None
    return {"reasons": [gettext(reason) for reason in configuration.reasons], "remark": configuration.ask_remark}


def _trial(evaluator: Evaluator, token: str, configuration: StudyConfiguration, progress: Progress) -> dict[str, Any]:
    assert progress.trial is not None
    practice = progress.state == State.PRACTICE
    given = _given(progress.corrects)
    return {
        "trial": trial_body(token, configuration, progress),
        "practice": practice,
        "preload": preload(token, progress),
        "options": option_rows(configuration, criterion_of(configuration, progress)),
        "criteria_shown": [criterion_body(configuration, each) for each in configuration.criteria],
        "display": display_of(evaluator.study),
        "asks": asks_of(configuration, progress),
        "key": uuid.uuid4(),
        "minutes": minutes_for(progress.of - progress.position + 1),
        "seconds_per_trial": SECONDS_PER_TRIAL,
        "alone": gettext("No text here: judge the pictures alone."),
        "corrects": progress.corrects,
        "given": str(given.get("choice", "")),
        "given_reasons": given.get("reasons", []),
        "given_remark": given.get("remark", ""),
        "skipping_is_paid": configuration.skips_are_paid and ends.from_panel(evaluator),
        "may_skip": not practice and progress.corrects is None,
        "may_go_back": configuration.allow_correction and progress.corrects is None and not practice,
    }


def _consent(
    evaluator: Evaluator, configuration: StudyConfiguration, request: HttpRequest, token: str
) -> dict[str, Any]:
    link = reverse("rating:home", args=[token])
    return {
        "statement": statement_of(evaluator, configuration),
        "promise": promise.promise_for(evaluator),
        "too_small": ends.end_of(evaluator, configuration, "too_small"),
        "display": display_of(evaluator.study),
        "personal_link": "" if ends.from_panel(evaluator) else request.build_absolute_uri(link),
        "options": options_of(configuration, configuration.criteria[0]),
        "language": get_language(),
        "languages": settings.LANGUAGES,
        "address": request.path,
    }


def _instructions(evaluator: Evaluator, token: str) -> dict[str, Any]:
    example = introduction.example_of(evaluator)
    return {
        "example": example,
        "pictures": [reverse("rating:example", args=[token, side]) for side in SIDES],
        "damaged": example is not None and example.fault == CheckPair.Fault.DAMAGED,
    }


def _comprehension(evaluator: Evaluator, token: str, configuration: StudyConfiguration) -> dict[str, Any]:
    """Return the questions; after a wrong try with what was right chosen, what was wrong marked, and the task again."""
    tried = evaluator.comprehension_tries > 0
    wrong = evaluator.comprehension_wrong if tried else []
    questions = [
        {"question": question, "wrong": i in wrong, "chosen": question.right if tried and i not in wrong else None}
        for i, question in enumerate(configuration.comprehension)
    ]
    panel = configuration.panel if evaluator.external_key is not None else ""
    again = _instructions(evaluator, token) if tried else {}
    return {"key": uuid.uuid4(), "tried": tried, "wrong": wrong, "questions": questions, "panel": panel, **again}


def label_of(progress: Progress) -> str:
    """Return the words for a button that leads to an evaluator's step."""
    if progress.part > 1:
        return gettext("Next question")
    if progress.state == State.PRACTICE:
        return gettext("Start practice") if progress.position == 1 else gettext("Next practice pair")
    if progress.state == State.COMPREHENSION:
        return gettext("Go to the questions")
    if progress.state == State.TRIAL:
        return gettext("Show the first pair") if progress.position == 1 else gettext("Next pair")
    return gettext("Continue")


def _after_instructions(configuration: StudyConfiguration, progress: Progress) -> str:
    """Return the words for the button that leaves the instructions."""
    if progress.trial is not None and progress.trial.kind == Trial.Kind.PRACTICE:
        return gettext("Start practice")
    return gettext("Go to the questions") if configuration.comprehension else gettext("Show the first pair")


def _end(evaluator: Evaluator, configuration: StudyConfiguration, state: State) -> dict[str, Any]:
    """Return the context of an end; whoever has not done all that was asked stands at “partial”."""
    name = str(state)
    context: dict[str, Any] = {}
    if state == State.FINISHED:
        work = ends.work_of(evaluator)
        name = "finished" if work.whole else "partial"
        left_out = evaluator.freed_at is not None or evaluator.exclusions.exists()
        context = {"work": work, "what": name, "was_away": work.lost > 0 and not left_out}
    end = ends.end_of(evaluator, configuration, name)
    return context | {
        "end": end,
        "deleted": evaluator.deleted_at is not None,
        "study_state": evaluator.study.state,
        "at_once": ends.returns_at_once(evaluator, configuration, end),
    }


# ------------------------------------------------------------------------------ JSON


def body(token: str, configuration: StudyConfiguration, progress: Progress) -> dict[str, Any]:
    """Return an evaluator's progress as JSON. ``preload``: addresses of pictures that the page may fetch early."""
    if not progress.rates:
        return {"state": progress.state, "trial": None}
    return {
        "state": progress.state,
        "trial": trial_body(token, configuration, progress),
        **_given(progress.corrects),
        "preload": preload(token, progress),
    }


def _given(answer: Rating | None) -> dict[str, Any]:
    """Return the answer that is to be corrected."""
    if answer is None:
        return {}
    choice = answers.BOTH_BAD if answer.both_bad else answer.choice
    return {"corrects": str(answer.key), "choice": choice, "reasons": answer.reasons, "remark": answer.remark}


def preload(token: str, progress: Progress) -> list[list[str]]:
    """Return the addresses of the next trials' pictures."""
    return [list(picture_paths(token, trial.public_id)) for trial in progress.ahead]


def trial_body(token: str, configuration: StudyConfiguration, progress: Progress) -> dict[str, Any]:
    """Return one trial as the page needs it: its pictures, its place, and what is asked."""
    trial = progress.trial
    assert trial is not None
    criterion = criterion_of(configuration, progress)
    left, right = picture_paths(token, progress.shown_as or trial.public_id)
    return {
        "id": str(trial.public_id),
        "prompt": "" if criterion.hide_prompt else progress.prompt,
        "left": left,
        "right": right,
        "position": progress.position,
        "of": progress.of,
        "criterion": criterion_body(configuration, criterion),
        "part": progress.part,
        "parts": progress.parts,
        "asks": asks_of(configuration, progress),
    }


def criterion_body(configuration: StudyConfiguration, criterion: Criterion) -> dict[str, Any]:
    """Return a criterion as the page shows it."""
    rows = option_rows(configuration, criterion)
    return {
        "question": gettext(criterion.question),
        "options": [{name: row[name] for name in ("choice", "text", "letters")} for row in rows],
    }


def picture_paths(token: str, trial: uuid.UUID) -> tuple[str, str]:
    """Return the addresses of the two pictures of the trial with this public id."""
    left, right = (reverse(f"rating:{side}", args=[token, trial]) for side in SIDES)
    return left, right


def message(
    request: HttpRequest,
    status: int,
    what: str,
    configuration: StudyConfiguration,
    *,
    end: ends.End | None = None,
    detail: str = "",
) -> HttpResponse:
    """Respond to somebody who is not let in, with the study's contact and the panel's way back."""
    if wants_json(request):
        return JsonResponse({"accepted": False, "reason": what, "detail": detail}, status=status)
    context = {"what": what, "detail": detail, "configuration": configuration, "end": end}
    return render(request, "rating/message.html", context, status=status)


def refusal(request: HttpRequest, status: int, reason: str, text: str = "", **more: Any) -> HttpResponse:
    """Respond that nothing was stored, as a page or as JSON."""
    if wants_json(request):
        return JsonResponse({"accepted": False, "reason": reason, "detail": text, **more}, status=status)
    return render(request, "rating/message.html", {"what": reason, "detail": text}, status=status)
