"""The study admin's pages: whose they are, what they allow, how many queries they take."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import StudyForm
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Evaluator, Image, Study
from evenhand.studies.rating.enrolment import enrol
from tests.helpers.factories import make_admin, make_draft, make_prompt_set, make_ready_study
from tests.helpers.html_forms import values_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def study(ada: User) -> Study:
    return make_ready_study(owner=ada)


PAGES = ("study", "pairs", "preferences", "report", "histogram", "diverging", "change_plan")


@pytest.mark.parametrize("name", PAGES)
def test_pages_need_a_login_and_the_right_owner(client: Client, study: Study, name: str) -> None:
    kinds = ["svg"] if name in ("histogram", "diverging") else []
    address = reverse(f"console:{name}", args=[study.pk, *kinds])
    assert client.get(address)["Location"].startswith("/console/login/")
    client.force_login(make_admin("mallory"))
    assert client.get(address).status_code == 404
    assert client.post(reverse("console:act", args=[study.pk, "open"])).status_code == 404
    study.refresh_from_db()
    assert study.state == Study.State.READY


def test_a_study_is_planned_with_the_papers_defaults(console: Client) -> None:
    prompts = make_prompt_set()
    form = StudyForm()
    given = {name: field.initial for name, field in form.fields.items() if field.initial is not None}
    given |= {"name": "Corgis", "prompt_set": prompts.pk, "scheduler": "ddim", "dtype": "float32"}
    response = console.post(reverse("console:new_study"), given)
    made = Study.objects.get(name="Corgis")
    assert response["Location"] == reverse("console:study", args=[made.pk])
    assert configuration_of(made) == StudyConfiguration(checkpoint="demo")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Shapes"}, "name"),
        ({"strength": "inf"}, "strength"),
        ({"strength": "nan"}, "strength"),
        ({"scales": "5, 5"}, "scales"),
        ({"scales": ""}, "scales"),
        ({"scales": "inf"}, "scales"),
        ({"scheduler": "heun"}, "scheduler"),
        ({"switch_after": "21"}, "scales"),
        ({"steps": "0"}, "steps"),
        ({"checkpoint": ""}, "checkpoint"),
        ({"quota": "0"}, "quota"),
        ({"per_stratum": "-1"}, "per_stratum"),
    ],
)
def test_a_bad_plan_is_refused_field_by_field(
    console: Client, study: Study, change: dict[str, str], field: str
) -> None:
    form = StudyForm()
    given = {name: each.initial for name, each in form.fields.items() if each.initial is not None}
    given |= {"name": "Corgis", "prompt_set": study.prompt_set_id, "scheduler": "ddim", "dtype": "float32"}
    response = console.post(reverse("console:new_study"), given | change)
    assert response.status_code == 200
    assert field in response.context["form"].errors
    assert not Study.objects.filter(name="Corgis").exists()


def test_a_plan_changes_until_it_is_frozen(console: Client, ada: User) -> None:
    study = make_draft(owner=ada)
    address = reverse("console:change_plan", args=[study.pk])
    given = values_of(console.get(address).content.decode())
    console.post(address, given | {"quota": "9", "name": "Renamed"})
    study = Study.objects.get(pk=study.pk)
    assert (study.name, configuration_of(study).quota) == ("Renamed", 9)
    assert configuration_of(study).candidates[1].to_dict()["scale"] == 10.0
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    response = console.post(address, given | {"quota": "10"}, follow=True)
    assert "frozen" in response.content.decode()
    assert configuration_of(Study.objects.get(pk=study.pk)).quota == 9


def test_a_study_lives_from_ready_to_closed(console: Client, study: Study) -> None:
    def step(action: str, **data: str) -> str:
        console.post(reverse("console:act", args=[study.pk, action]), data)
        study.refresh_from_db()
        return study.state

    assert step("open") == "collecting"
    assert step("pause") == "paused"
    assert step("open") == "paused"
    assert step("resume") == "collecting"
    assert step("close") == "collecting"
    assert step("close", name=study.name) == "closed"
    assert step("resume") == "closed"


def test_links_are_made_and_shown_again(console: Client, study: Study) -> None:
    open_study(study)
    console.post(reverse("console:invite", args=[study.pk]), {"count": "3", "note": "spring"})
    people = list(Evaluator.objects.filter(study=study))
    assert [person.note for person in people] == ["spring"] * 3
    page = console.get(reverse("console:people", args=[study.pk])).content.decode()
    for person in people:
        assert f"/e/{person.public_id}." in page


def test_the_moving_part_alone_is_sent_to_htmx(console: Client, study: Study) -> None:
    address = reverse("console:study", args=[study.pk])
    part = console.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="story"')
    assert "<html" not in part


def test_lists_take_a_fixed_number_of_queries(
    console: Client, ada: User, study: Study, django_assert_max_num_queries: Any
) -> None:
    open_study(study)
    for name in ("One", "Two", "Three"):
        make_draft(owner=ada, name=name)
    for _ in range(30):
        enrol(study)
    with django_assert_max_num_queries(9):
        console.get(reverse("console:studies"))
    with django_assert_max_num_queries(12):
        console.get(reverse("console:pairs", args=[study.pk]))


def test_pictures_are_shown_to_admins_only(client: Client, ada: User, study: Study) -> None:
    first = study.comparisons.get(position=0).pairs.first()
    assert first is not None
    address = reverse("console:image", args=[first.candidate_image_id])
    assert client.get(address).status_code == 302
    client.force_login(ada)
    assert client.get(address)["Content-Type"] == "image/png"


def test_damaged_pictures_of_checks_are_shown_to_their_studys_admin(client: Client, ada: User) -> None:
    """They are made of a picture and belong to no recipe."""
    study = make_ready_study(owner=ada, name="Checked", attention_checks=1)
    check = study.check_pairs.first()
    assert check is not None
    better = check.better
    size = {"width": better.width, "height": better.height}
    damaged = Image.objects.create(
        prompt=better.prompt, seed=better.seed, kind="altered", state="done", sha256=better.sha256, **size
    )
    study.check_pairs.filter(pk=check.pk).update(worse=damaged, fault="damaged")
    address = reverse("console:image", args=[damaged.pk])
    client.force_login(ada)
    assert client.get(address)["Content-Type"] == "image/png"
    client.force_login(make_admin("mallory"))
    assert client.get(address).status_code == 404


def test_health_answers_without_a_login(client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert client.get("/healthz").content == b"ok\n"


def test_the_records_are_open_to_superusers(admin_client: Client, study: Study) -> None:
    open_study(study)
    enrol(study)
    index = admin_client.get("/admin/").content.decode()
    for model in ("evaluator", "trial", "rating", "image", "batch", "study", "prompt"):
        assert f"/admin/studies/{model}/" in index
        assert admin_client.get(f"/admin/studies/{model}/").status_code == 200
