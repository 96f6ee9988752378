"""The page of the check pairs: what is shown, who may exchange, and when."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import CheckPair, Study
from tests.helpers.check_pairs import pair_of, with_spare_prompts
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.study_page import study_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def study(client: Client, ada: User) -> Study:
    client.force_login(ada)
    return with_spare_prompts(owner=ada)


def page_of(client: Client, study: Study) -> str:
    return client.get(reverse("console:checks", args=[study.pk])).content.decode()


def test_every_pair_is_shown_with_its_use_fault_and_better_picture(client: Client, study: Study) -> None:
    address = reverse("console:checks", args=[study.pk])
    assert f'href="{address}"' in study_page(client, study)
    page = page_of(client, study)
    assert page.count("Worse: picture of another text") == study.check_pairs.count() == 6
    for word in ("Example in the instructions", "Practice", "Attention check"):
        assert f"· {word}" in page
    for pair in study.check_pairs.select_related("prompt", "worse__prompt"):
        assert pair.prompt.text in page
        better, worse = (
            page.index(reverse("console:image", args=[pk]) + '"') for pk in (pair.better_id, pair.worse_id)
        )
        assert better >= 0
        assert worse >= 0


def test_a_button_exchanges_once_however_often_it_is_pressed(client: Client, study: Study) -> None:
    pair = pair_of(study)
    address = reverse("console:exchange_check", args=[study.pk, 0])
    sent = {"seen": f"{pair.better_id} {pair.worse_id}"}
    assert client.post(address, sent).headers["Location"].endswith("/checks/#pair1")
    now = pair_of(study)
    assert now.prompt != pair.prompt
    page = client.post(address, sent, follow=True).content.decode()
    assert "Check pair 1 was exchanged meanwhile" in page
    assert pair_of(study).prompt == now.prompt
    client.post(address, {"seen": f"{now.better_id} {now.worse_id}", "fault": "damaged"})
    assert pair_of(study).fault == "damaged"
    assert "Worse: damaged copy" in page_of(client, study)
    assert study.events.filter(action="check pair exchanged").count() == 2


def test_an_open_study_shows_them_and_changes_none(client: Client, study: Study) -> None:
    open_study(study)
    page = page_of(client, study)
    assert "Use another prompt" not in page
    assert "stay as they are" in page
    pair = pair_of(study)
    sent = {"seen": f"{pair.better_id} {pair.worse_id}"}
    page = client.post(reverse("console:exchange_check", args=[study.pk, 0]), sent, follow=True).content.decode()
    assert "exchanged before a study is opened" in page
    assert pair_of(study).prompt == pair.prompt


def test_it_is_another_admins_business(client: Client, study: Study) -> None:
    client.force_login(make_admin("mallory"))
    assert client.get(reverse("console:checks", args=[study.pk])).status_code == 404
    assert client.post(reverse("console:exchange_check", args=[study.pk, 0]), {}).status_code == 404
    client.logout()
    assert client.get(reverse("console:checks", args=[study.pk])).status_code == 302
    assert CheckPair.objects.exclude(passed_over=[]).count() == 0


def test_an_unknown_pair_or_method_is_refused(client: Client, study: Study) -> None:
    assert client.post(reverse("console:exchange_check", args=[study.pk, 99])).status_code == 404
    assert client.get(reverse("console:exchange_check", args=[study.pk, 0])).status_code == 405


def test_a_study_without_checks_says_so(client: Client, ada: User) -> None:
    client.force_login(ada)
    study = make_ready_study(owner=ada)
    assert "no example, practice or attention checks" in page_of(client, study)


def test_the_page_takes_the_same_queries_for_any_number_of_pairs(client: Client, ada: User, study: Study) -> None:
    def queries(of: Study) -> int:
        page_of(client, of)
        with CaptureQueriesContext(connection) as captured:
            page_of(client, of)
        return len(captured)

    more = make_ready_study(owner=ada, name="Corgis", introduction=True, practice_trials=4, attention_checks=5)
    assert queries(study) == queries(more)


def test_what_exchanges_pairs_imports_no_torch() -> None:
    modules = "evenhand.generation.damage, evenhand.generation.images"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
