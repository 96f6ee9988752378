"""Every page of the console asks the database at most twelve times, in every state of a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.arms import arms_of
from evenhand.studies.console.plan_steps import STEPS
from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import Arm, ArmScore, ImageScore, Scoring, Study
from evenhand.studies.prompt_import import import_texts
from evenhand.studies.tokens import make_token
from tests.helpers.bundles import rated_study
from tests.helpers.factories import make_admin, make_draft, make_member, make_ready_study
from tests.helpers.study_page import study_page

pytestmark = [pytest.mark.django_db, pytest.mark.database]
MOST = 12
CONTROL = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "SET LOCAL")  # these read nothing
ALWAYS = (
    "", "live/", "versions/", "members/", "log/", "manage/", "pairs/", "checks/", "people/", "reconcile/", "results/",
    "metrics/",
)  # fmt: skip
STEP_PAGES = (*(f"plan/{step}/" for step in STEPS), "plan/review/")
PARTS = ("parts/pictures/", "parts/evaluators/")
PAGES = ("", "prompts/", "prompts/{prompts}/", "tokens/", "power/", "studies/new/", "studies/new/steps/", "pictures/")


def draft() -> Study:
    return make_draft(owner=make_admin("ada"))


def ready() -> Study:
    return make_ready_study(owner=make_admin("ada"), practice_trials=1, attention_checks=2, repeats=2)


def collecting() -> Study:
    study = rated_study(close=False)
    for image in [pair.candidate_image for pair in study.comparisons.get(position=0).pairs.all()]:
        ImageScore.objects.create(image=image, metric="clip:demo", value=0.2)
    return study


def closed() -> Study:
    study = collecting()
    close_study(study)
    return study


STATES: dict[str, tuple[Callable[[], Study], tuple[str, ...]]] = {
    "draft": (draft, (*ALWAYS, "plan/", *STEP_PAGES, "candidates/", "candidates/new/?method=segmentation_free")),
    "ready": (ready, (*ALWAYS, *PARTS, "revision/")),
    "collecting": (collecting, (*ALWAYS, *PARTS, "parts/results/", "printed/", "revision/")),
    "closed": (closed, (*ALWAYS, *PARTS, "parts/results/", "printed/")),
}


def counted(client: Client, path: str, **headers: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        response = client.get(path, **headers)
    assert response.status_code == 200, (path, response.status_code)
    return len([each for each in captured.captured_queries if not (each["sql"] or "").startswith(CONTROL)])


def too_many(client: Client, paths: Iterator[str]) -> dict[str, int]:
    return {path: count for path in paths if (count := counted(client, path)) > MOST}


@pytest.mark.parametrize("state", STATES)
def test_the_pages_of_a_study(client: Client, state: str) -> None:
    make, names = STATES[state]
    study = make()
    make_member(study, "viewer")
    client.force_login(study.owner)
    assert too_many(client, (f"/console/studies/{study.pk}/{name}" for name in names)) == {}


def test_the_pages_beside_studies(client: Client, settings: Any) -> None:
    study = ready()
    for name in ("one", "two", "three"):
        make_token(study.owner, name)
        make_draft(owner=study.owner, name=name)
    texts = [f"a gate and {i % 40} mugs" for i in range(60)]
    repeated = import_texts(texts, name="Repeated", source="a list")
    client.force_login(study.owner)
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    settings.CACHES = settings.CACHES | {"default": memory}
    client.get(f"/console/prompts/{repeated.pk}/")  # lengths in tokens are counted once for a set, and kept
    pages = (f"/console/{page}".format(prompts=repeated.pk) for page in PAGES)
    assert too_many(client, pages) == {}


def test_the_metrics_page_with_a_scoring_takes_five_more(client: Client) -> None:
    study = collecting()
    beside = Arm.objects.create(fingerprint="f" * 64, label="CFG w=9", guidance=ClassifierFree(9.0).to_dict())
    arms = [arm.pk for arm in arms_of(study)]
    plan = {"prompts": "final", "count": 12, "arms": [*arms, beside.pk], "metrics": ["clip"], "spaces": ["inception"]}
    scoring = Scoring.objects.create(study=study, plan=plan, created_by=study.owner)
    ArmScore.objects.create(scoring=scoring, arm=beside, metric="fid", value=1.0, n=12)
    client.force_login(study.owner)
    assert MOST < counted(client, f"/console/studies/{study.pk}/metrics/") <= MOST + 5


def test_a_page_with_its_parts_shows_all_chapters(client: Client) -> None:
    study = collecting()
    client.force_login(study.owner)
    page = study_page(client, study)
    for words in ("5 invited", "Make invitation links", "All results: strata"):
        assert words in page


def test_a_part_is_a_page_without_javascript(client: Client) -> None:
    study = collecting()
    client.force_login(study.owner)
    page = client.get(f"/console/studies/{study.pk}/parts/evaluators/").content.decode()
    assert "<html" in page
    assert "5 invited" in page
    fragment = client.get(f"/console/studies/{study.pk}/parts/evaluators/", headers={"HX-Request": "true"})
    assert "<html" not in fragment.content.decode()
    assert client.get(f"/console/studies/{study.pk}/parts/nothing/").status_code == 404
    unopened = make_draft(owner=study.owner, name="Unopened")
    assert client.get(f"/console/studies/{unopened.pk}/parts/results/").status_code == 404
