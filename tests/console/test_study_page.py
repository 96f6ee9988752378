"""A study's page in each state: what comes first, and what is folded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from evenhand.studies import audit
from evenhand.studies.lifecycle import close_study, open_study, pause_study
from evenhand.studies.models import Stage, Study
from evenhand.studies.pipeline.stages import STAGES
from tests.helpers.factories import make_admin, make_draft, make_ready_study

pytestmark = pytest.mark.django_db
HEADINGS = re.compile(r'(<details class="fold"[^>]*>\s*<summary>\s*)?<h2 id="([\w-]+)"')


def with_stages(study: Study, others: str, **first: Any) -> Study:
    for position, each in enumerate(STAGES):
        values = first if position == 0 else {}
        Stage.objects.create(study=study, name=each.name, position=position, **({"state": others} | values))
    return study


def chapters(client: Client, study: Study) -> list[str]:
    """The page's chapters, folded ones in brackets."""
    client.force_login(study.owner)
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    return [f"({name})" if folded else name for folded, name in HEADINGS.findall(page.split('<div id="story">')[1])]


def test_a_draft_shows_its_plan(client: Client) -> None:
    assert chapters(client, make_draft(owner=make_admin("ada"))) == ["plan"]


def test_the_plans_margin_is_written_out(client: Client) -> None:
    study = make_draft(owner=make_admin("ada"), equivalence_margin=0.04)
    client.force_login(study.owner)
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    assert "(equivalent within 0.04 points of net preference)" in page


@pytest.mark.parametrize("failed", [False, True])
def test_what_is_prepared_shows_its_stages(client: Client, failed: bool) -> None:
    study = make_draft(owner=make_admin("ada"))
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    study.refresh_from_db()
    with_stages(study, "waiting", **({"state": "failed", "error": "no room"} if failed else {"state": "running"}))
    assert chapters(client, study) == [*([] if failed else ["live-title"]), "(plan)", "prompts", "pictures"]
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    for name in ("stages-prompts", "stages-pictures"):  # which the live part replaces
        before = page.split(f'id="{name}"')[0]
        assert before.count("<details") == before.count("</details>")


def test_what_is_ready_shows_pictures_and_how_to_invite(client: Client) -> None:
    study = with_stages(make_ready_study(owner=make_admin("ada")), "done")
    assert chapters(client, study) == ["pictures", "evaluators", "(plan)", "(prompts)", "(bundle)"]
    audit.record(study, "unknown_words", words="corgi", different=1, list="words.txt")
    assert "prompts" in chapters(client, study)  # a warning is read before the opening
    open_study(study)
    assert "(prompts)" in chapters(client, study)


def test_while_answers_come_results_are_first(client: Client) -> None:
    study = with_stages(make_ready_study(owner=make_admin("ada")), "done")
    open_study(study)
    folded = ["(plan)", "(prompts)", "(pictures)", "(bundle)"]
    assert chapters(client, study) == ["live-title", "results", "evaluators", *folded, "(closing)"]
    pause_study(study, actor=study.owner)
    assert chapters(client, study) == ["live-title", "results", "evaluators", *folded, "(closing)"]
    close_study(study, actor=study.owner)
    assert chapters(client, study) == ["results", "evaluators", *folded]


def test_the_folded_chapters_say_how_far_they_are(client: Client) -> None:
    study = with_stages(make_ready_study(owner=make_admin("ada"), quota=1), "done")
    client.force_login(study.owner)
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    for text in ("2 comparisons, 1 evaluator with 12 pairs each", "4 of 4 stages done", "not written yet"):
        assert text in page, text
    audit.record_bundle(study, root="a" * 64, anonymous=False, size=5)
    page = client.get(reverse("console:study", args=[study.pk])).content.decode()
    assert re.search(r"last written on \d{4}-\d\d-\d\d", page)
