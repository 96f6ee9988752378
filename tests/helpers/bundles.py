"""A rated study that has something of everything that a bundle carries or must not carry."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

from django.utils import timezone

from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import Evaluator, Study
from evenhand.studies.rating.answers import Answer, store_answer
from evenhand.studies.rating.enrolment import consent, enrol
from evenhand.studies.rating.progress import progress_of
from evenhand.studies.rating.withdrawal import withdraw
from tests.helpers.factories import make_ready_study

SEPARATORS = "\u2028\u2029\x85\v\f\x1c\x1d\x1e"  # end a line for str.splitlines, and none of a CSV
REMARK = f"The left one says “Grâce”, as I am called{SEPARATORS}here"
SECRETS = {  # what no bundle may hold, wherever it comes from
    "a panel's id of a person": "5f0c-panel-person",
    "a panel's id of a visit": "session-77-visit",
    "a note": "Grace from the second floor",
}


def rated_study(name: str = "Shapes", *, close: bool = True, **changes: Any) -> Study:
    """Rated by Grace (with a correction), Heidi (left out), Ivan (withdrew), Judy (deleted) and a simulation."""
    settings: dict[str, Any] = {
        "trials_per_evaluator": 6, "quota": 8, "practice_trials": 1, "attention_checks": 1, "repeats": 1,
        "introduction": True, "ask_remark": True, "contact": "ada@university.example", "completion_code": "CODE-4711",
    }  # fmt: skip
    study = make_ready_study(name=name, **(settings | changes))
    open_study(study)
    grace = enrol(
        study,
        external_ids={
            "PROLIFIC_PID": SECRETS["a panel's id of a person"],
            "SESSION_ID": SECRETS["a panel's id of a visit"],
        },
        external_key=SECRETS["a panel's id of a person"],
    )
    heidi, ivan, judy = (enrol(study, note=note) for note in (SECRETS["a note"], "Ivan", "Judy"))
    machine = enrol(study, simulated=True)
    for evaluator, count in ((grace, 8), (heidi, 9), (ivan, 3), (judy, 2), (machine, 9)):
        consent(evaluator)
        rate(evaluator, count)
    exclude(heidi, reason="pressed one key", actor=study.owner)
    withdraw(ivan)
    withdraw(judy, delete=True)
    if close:
        close_study(study)
    study.refresh_from_db()
    return study


def rate(person: Evaluator, count: int) -> None:
    """The next answers of a person, as many as there are; the last one is corrected."""
    Evaluator.objects.filter(pk=person.pk).update(introduced_at=timezone.now())
    person.refresh_from_db()
    rating = None
    for n in range(count):
        trial = progress_of(person).trial
        if trial is None:
            break
        answer = Answer(
            trial.public_id, n % 5 - 2, uuid.uuid4(), 1000 + n, None, {"viewport_width": 1440.5}, remark=REMARK
        )
        rating = store_answer(person, answer).rating
    assert rating is not None
    store_answer(person, Answer(rating.trial.public_id, 0, uuid.uuid4(), 10, rating.key, {}))


def sum_again(bundle: Path) -> None:
    """Give a damaged bundle checksums that fit, as somebody who wants to deceive would."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(bundle).as_posix()}\n" for path in files
    ]
    (bundle / "SHA256SUMS").write_text("".join(lines))
