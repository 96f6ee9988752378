"""The page of a prompt set: its prompts' lengths and repetitions, tried settings, both curves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from evenhand.sampling.subset import FrechetCurve
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.console.forms import SamplingForm
from evenhand.studies.models import PromptSet, SamplingRun
from evenhand.studies.pipeline import sampling_runs
from evenhand.studies.pipeline.tasks import HANDLERS
from evenhand.studies.prompt_import import import_texts
from evenhand.studies.work.queue import work_through
from tests.helpers.factories import make_admin, make_prompt_set, make_ready_study, small_configuration

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> User:
    return make_admin("ada")


@pytest.fixture
def console(client: Client, ada: User) -> Client:
    client.force_login(ada)
    return client


@pytest.fixture
def prompts() -> PromptSet:
    return make_prompt_set()


CURVE = FrechetCurve(
    60,
    (8, 24, 48),
    ((4.0, 5.0), (1.0, 1.5), (0.2, 0.3)),
    (0.5, 0.1, 0.01),
    representative=((1.0, 1.2), (0.25, 0.35), (0.05, 0.05)),
    gaussian=((4.0,), (1.0,), (0.2,)),
)


@pytest.fixture
def done(prompts: PromptSet) -> SamplingRun:
    """Settings that a worker has computed, with a curve whose numbers are known."""
    configuration = small_configuration(draw="representative", seed=7)
    return SamplingRun.objects.create(
        prompt_set=prompts, configuration=configuration.to_json(), state="done", frechet_curve=CURVE.to_dict()
    )


def settings_to_try(prompts: PromptSet, **changes: Any) -> dict[str, Any]:
    form = SamplingForm(prompt_set=prompts)
    given = {name: field.initial for name, field in form.fields.items() if field.initial is not None}
    return given | {"subset_size": 24, "per_stratum": 4} | changes


def test_a_set_shows_how_long_its_prompts_are_and_which_repeat(console: Client) -> None:
    texts = ["one", "one two", "one two", "three four", "a b c", *["x y"] * 3]
    found = import_texts(texts, name="Short", source="a list")
    response = console.get(reverse("console:prompt_set", args=[found.pk]))
    assert [(bar["words"], bar["count"]) for bar in response.context["lengths"]["bars"]] == [(1, 1), (2, 6), (3, 1)]
    assert response.context["lengths"]["mean"] == pytest.approx(2.0)
    assert response.context["repeated"] == [("x y", 3), ("one two", 2)]
    page = response.content.decode()
    assert "8 prompts of 1 to 3 words, 2.0 on average" in " ".join(page.split())
    assert "3 prompts repeat an earlier one" in page


def test_very_long_prompts_are_counted_together(console: Client) -> None:
    found = import_texts(["a " * 45, "b " * 300, "c"], name="Long", source="a list")
    lengths = console.get(reverse("console:prompt_set", args=[found.pk])).context["lengths"]
    assert (len(lengths["bars"]), lengths["bars"][-1]["count"], lengths["longest"]) == (40, 2, 300)


def test_the_list_of_sets_leads_to_each(console: Client, prompts: PromptSet) -> None:
    page = console.get(reverse("console:prompt_sets")).content.decode()
    assert f'href="{reverse("console:prompt_set", args=[prompts.pk])}"' in page


def test_settings_are_tried_by_a_worker_and_the_page_follows(
    console: Client, prompts: PromptSet, settings: Any, tmp_path: Path
) -> None:
    settings.FEATURE_CACHE = tmp_path / "features"
    response = console.post(reverse("console:prompt_set", args=[prompts.pk]), settings_to_try(prompts, seed=3))
    run = SamplingRun.objects.get()
    address = reverse("console:sampling_run", args=[prompts.pk, run.pk])
    assert response["Location"] == f"{address}#tried"
    part = console.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="run" hx-get=')
    assert "Waiting for a worker" in " ".join(part.split())
    assert "<html" not in part
    assert work_through(HANDLERS) == 1
    part = console.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "hx-get" not in part
    assert "frechet.svg" in part
    page = console.get(address).content.decode()
    assert 'name="seed" value="3"' in page  # the next try starts from this one


def test_the_curves_say_what_size_a_distance_takes(console: Client, prompts: PromptSet, done: SamplingRun) -> None:
    address = reverse("console:sampling_run", args=[prompts.pk, done.pk])
    context = console.get(address, {"threshold": "0.6"}).context
    assert [(row["draw"], row["needed"]) for row in context["curves"]] == [("random", 48), ("representative", 24)]
    assert [row["mean"] for row in context["curves"]] == pytest.approx([1.25, 0.3])
    assert context["equal"] == 8  # 1.1, the first representative mean at or under the 1.25 of 24 random ones
    page = console.get(address, {"threshold": "0.01"}).content.decode()
    assert page.count("none of the curve") == 2


@pytest.mark.parametrize("threshold", ["", "nan", "-1", "inf", "much"])
def test_what_is_no_distance_is_no_threshold(
    console: Client, prompts: PromptSet, done: SamplingRun, threshold: str
) -> None:
    response = console.get(reverse("console:sampling_run", args=[prompts.pk, done.pk]), {"threshold": threshold})
    assert response.context["threshold"] is None


def test_the_curve_is_taken_away_as_svg_png_and_csv(console: Client, prompts: PromptSet, done: SamplingRun) -> None:
    def get(kind: str, **query: str) -> Any:
        return console.get(reverse("console:sampling_curve", args=[prompts.pk, done.pk, kind]), query)

    assert "threshold 0.6" in get("svg", threshold="0.6").content.decode()
    assert get("png").content.startswith(b"\x89PNG")
    rows = list(csv.DictReader(get("csv").content.decode().splitlines()))
    assert len(rows) == 15
    assert get("gif").status_code == 404


def test_a_study_is_planned_with_what_was_tried(console: Client, prompts: PromptSet, done: SamplingRun) -> None:
    plan = console.get(reverse("console:sampling_run", args=[prompts.pk, done.pk])).context["plan"]
    assert dict(parse_qsl(urlsplit(plan).query))["percentiles"] == "90, 50, 10"
    form = console.get(plan).context["form"]
    shown = {name: form[name].value() for name in ("prompt_set", "subset_size", "draw", "seed", "per_stratum")}
    assert {name: str(value) for name, value in shown.items()} == {
        "prompt_set": str(prompts.pk),
        "subset_size": "24",
        "draw": "representative",
        "seed": "7",
        "per_stratum": "4",
    }
    assert form["steps"].value() == 20  # what was not tried keeps the paper's default


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subset_size": "61"}, "subset_size"),
        ({"subset_size": "12"}, "subset_size"),
        ({"percentiles": "90, x"}, "percentiles"),
        ({"percentiles": "90, 90"}, "percentiles"),
        ({"percentiles": "101"}, "percentiles"),
        ({"draw": "best"}, "draw"),
        ({"deduplicate": "some"}, "deduplicate"),
        ({"near_duplicate_cosine": "1.5"}, "near_duplicate_cosine"),
        ({"near_duplicate_cosine": "nan"}, "near_duplicate_cosine"),
        ({"seed": "-1"}, "seed"),
        ({"encoder": ""}, "encoder"),
    ],
)
def test_bad_settings_are_refused_field_by_field(
    console: Client, prompts: PromptSet, change: dict[str, str], field: str
) -> None:
    response = console.post(reverse("console:prompt_set", args=[prompts.pk]), settings_to_try(prompts, **change))
    assert response.status_code == 200
    assert field in response.context["form"].errors
    assert not SamplingRun.objects.exists()


def test_a_failed_try_says_why_and_keeps_its_settings(console: Client, prompts: PromptSet) -> None:
    run = sampling_runs.start(prompts, small_configuration(encoder="no-such-model"))
    work_through(HANDLERS)
    page = console.get(reverse("console:sampling_run", args=[prompts.pk, run.pk])).content.decode()
    assert "no open_clip model named" in page.replace("neither a folder nor an", "no")
    assert 'value="no-such-model"' in page


def test_the_page_needs_a_login_and_a_set(client: Client, ada: User, done: SamplingRun) -> None:
    addresses = [
        reverse("console:prompt_set", args=[done.prompt_set_id]),
        reverse("console:sampling_run", args=[done.prompt_set_id, done.pk]),
        reverse("console:sampling_curve", args=[done.prompt_set_id, done.pk, "svg"]),
    ]
    for address in addresses:
        assert client.get(address)["Location"].startswith("/console/login/")
    client.force_login(ada)
    other = make_prompt_set(name="Another")
    assert client.get(reverse("console:prompt_set", args=[10**6])).status_code == 404
    assert client.get(reverse("console:sampling_run", args=[other.pk, done.pk])).status_code == 404
    assert client.get(reverse("console:sampling_curve", args=[other.pk, done.pk, "svg"])).status_code == 404


def test_the_page_takes_a_fixed_number_of_queries(
    console: Client, prompts: PromptSet, done: SamplingRun, django_assert_max_num_queries: Any
) -> None:
    for seed in range(12):
        configuration = small_configuration(seed=seed)
        SamplingRun.objects.create(prompt_set=prompts, configuration=configuration.to_json())
    with django_assert_max_num_queries(12):
        page = console.get(reverse("console:prompt_set", args=[prompts.pk])).content.decode()
    assert page.count("/tries/") < 30


def test_the_draw_is_part_of_the_frozen_configuration() -> None:
    """The hash that every rating names tells one way of drawing from the other."""
    plain = StudyConfiguration(checkpoint="demo")
    chosen = StudyConfiguration(checkpoint="demo", draw="representative", deduplicate="near")
    assert plain.sha256 != chosen.sha256
    assert StudyConfiguration.from_json(chosen.to_json()) == chosen
    assert (plain.draw, plain.deduplicate) == ("random", "none")


def test_a_studys_curve_is_taken_away_in_all_three_forms(console: Client, ada: User) -> None:
    study = make_ready_study(owner=ada)
    assert console.get(reverse("console:frechet_file", args=[study.pk, "csv"])).status_code == 404
    assert study.subset is not None
    for curve in (CURVE, FrechetCurve(4, (4,), ((-1e-14,),), (0.0,))):  # the second: of the whole set alone
        study.subset.frechet_curve = curve.to_dict()
        study.subset.size = curve.sizes[-1]
        study.subset.save(update_fields=["frechet_curve", "size"])
        for kind, content in (("svg", "image/svg+xml"), ("png", "image/png"), ("csv", "text/csv; charset=utf-8")):
            assert console.get(reverse("console:frechet_file", args=[study.pk, kind]))["Content-Type"] == content
