"""What metrics say of arms: means, wins, agreement with people, sweeps and notes, each against a plain computation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree, fingerprint
from evenhand.studies.configuration import arm_label
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, ArmScore, Image, ImageScore, Scoring, ScoringPart, Study
from evenhand.studies.pipeline import scorings
from evenhand.studies.results import figures
from evenhand.studies.results.objective.report import arms_of_sweep, objective_report
from evenhand.studies.results.objective.tables import MAKERS, tables_of
from evenhand.studies.score_names import NOT_FINITE, ONE_COLOUR, in_words
from evenhand.studies.work.queue import work_through
from tests.helpers.factories import drawn_image, make_admin, make_draft, make_ready_study
from tests.helpers.ratings import invite, queries_of, rate_booklet

pytestmark = pytest.mark.django_db
CLIP = "clip:demo"


@pytest.fixture
def study() -> Study:
    """Three arms over twelve prompts; the first candidate scores higher than the baseline on nine of them."""
    study = make_ready_study(owner=make_admin("ada"), quota=8)
    for comparison in study.comparisons.order_by("position"):
        for place, pair in enumerate(comparison.pairs.order_by("prompt__index")):
            store(pair.baseline_image, 0.25 + place / 100)
            gain = (0.05 if place < 9 else -0.05) if comparison.position == 0 else 0.0
            store(pair.candidate_image, 0.25 + place / 100 + gain)
    return study


def store(image: Image, value: float, metric: str = CLIP) -> None:
    ImageScore.objects.update_or_create(image=image, metric=metric, defaults={"value": value})


def test_effective_strengths_are_summarised_over_pictures(study: Study) -> None:
    comparison = study.comparisons.order_by("position")[0]
    for place, pair in enumerate(comparison.pairs.order_by("prompt__index")):
        image = pair.candidate_image
        image.provenance = {"effective_strength": [[3.0, 0.0], None, [float(place), 0.5 if place else None]]}
        image.save()
    report = objective_report(study)
    (found,) = report["effective"]
    assert (report["arms"][found["arm"]]["label"], found["n"]) == (comparison.candidate.label, 12)
    first, last = found["points"]
    assert first == {"iteration": 0, "omega": 3.0, "low": 3.0, "high": 3.0, "across": 0.0}
    assert last == {"iteration": 2, "omega": 5.5, "low": 2.75, "high": 8.25, "across": 0.5}
    table = tables_of(report)["effective"]
    assert "5.50" in table.to_csv() or "5.5" in table.to_csv()
    for kind in ("svg", "png", "pdf"):
        assert figures.effective(report, kind=kind)


def test_without_measurements_there_is_no_curve(study: Study) -> None:
    report = objective_report(study)
    assert report["effective"] == []
    assert "effective" not in tables_of(report)
    with pytest.raises(InputError, match="no effective strength"):
        figures.effective(report)


def sweep_arms(study: Study, strengths: tuple[float, ...], negative: str = "") -> list[Arm]:
    arms = []
    assert study.recipe is not None
    for strength in strengths:
        guidance = ClassifierFree(strength, negative_prompt=negative)
        arm = Arm.objects.create(
            fingerprint=fingerprint(guidance), label=arm_label(guidance), guidance=guidance.to_dict()
        )
        for prompt in study.prompt_set.prompts.order_by("index")[:12]:
            store(drawn_image(prompt, arm, study.recipe), 0.5 - (strength - 5) ** 2 / 100)
        arms.append(arm)
    return arms


def scoring_of(study: Study, others: list[Arm], **plan: object) -> Scoring:
    own = [study.comparisons.all()[0].baseline_id, *study.comparisons.values_list("candidate", flat=True)]
    base = {
        "arms": [*own, *(arm.pk for arm in others)],
        "prompts": "final",
        "count": 12,
        "metrics": ["clip"],
        "spaces": [],
        "reference": "",
        "crop": False,
    }
    return Scoring.objects.create(study=study, plan=base | plan)


def test_means_and_wins_are_those_of_a_plain_computation(study: Study) -> None:
    report = objective_report(study)
    base = 0.25 + np.arange(12) / 100
    first = base + np.where(np.arange(12) < 9, 0.05, -0.05)
    means = report["means"][CLIP]
    assert [each["n"] for each in means] == [12, 12, 12]
    assert [each["estimate"] for each in means] == pytest.approx([base.mean(), first.mean(), base.mean()])
    assert means[0]["sd"] == pytest.approx(base.std(ddof=1))
    reach = 2.200985 * base.std(ddof=1) / np.sqrt(12)  # the t quantile of 11 degrees of freedom
    assert means[0]["high"] - means[0]["estimate"] == pytest.approx(reach, rel=1e-5)
    first_win, second_win = report["wins"]
    assert (first_win["wins"], first_win["ties"], first_win["losses"]) == (9, 0, 3)
    assert first_win["rate"]["estimate"] == pytest.approx(0.75)
    assert first_win["rate"]["low"] < 0.75 < first_win["rate"]["high"]
    assert (second_win["wins"], second_win["ties"], second_win["losses"]) == (0, 12, 0)
    assert second_win["rate"]["estimate"] == 0.5
    assert [arm["role"] for arm in report["arms"]] == ["baseline", "candidate", "candidate"]


def test_people_who_say_what_the_metric_says_agree_with_it(study: Study) -> None:
    open_study(study)

    def like_the_metric(trial: object) -> int:
        pair = trial.pair  # type: ignore[attr-defined]
        better = dict(ImageScore.objects.filter(metric=CLIP).values_list("image", "value"))
        gain = better[pair.candidate_image_id] - better[pair.baseline_image_id]
        return int(np.sign(round(gain, 6)))

    for name in ("grace", "alan", "joan"):
        rate_booklet(invite(study, name), like_the_metric)
    report = objective_report(study)
    rows = {(each["candidate"], each["stratum"]): each for each in report["people"]["rows"]}
    assert rows[1, "all"]["accuracy"]["estimate"] == 1.0
    assert rows[1, "all"]["tau_b"]["estimate"] == pytest.approx(1.0)
    assert rows[2, "all"]["accuracy"]["estimate"] == 1.0  # ties, as people said
    assert rows[1, "all"]["ratings"] == sum(rows[1, name]["ratings"] for name in ("high", "middle", "low"))
    points = report["people"]["points"][0]["pairs"]
    assert all(np.sign(round(difference, 6)) == np.sign(mean) for difference, mean, _ in points)
    assert figures.agreement(report).startswith(b"<?xml")
    assert "simulated" not in report["people"]["mark"]
    json.dumps(report, allow_nan=False)


def test_a_sweep_names_the_best_strength_and_whether_it_is_an_end(study: Study) -> None:
    arms = sweep_arms(study, (1.0, 5.0, 9.0))
    scoring = scoring_of(study, arms)
    for arm, value in zip(arms, (3.0, 2.0, 1.0), strict=True):
        ArmScore.objects.create(
            scoring=scoring,
            arm=arm,
            metric="frechet:inception",
            value=value,
            n=12,
            detail={"warnings": ["12 pictures: few."]},
        )
    report = objective_report(study, scoring)
    found = {each["title"]: each for each in report["sweep"]}
    assert (found["CLIP score (demo)"]["best"], found["CLIP score (demo)"]["at_end"]) == (5.0, False)
    assert (found["FID"]["best"], found["FID"]["at_end"]) == (9.0, True)
    assert [point["strength"] for point in found["FID"]["points"]] == [1.0, 5.0, 9.0]
    assert found["CLIP score (demo), wins against the baseline"]["best"] == 5.0
    assert figures.strengths(report).startswith(b"<?xml")
    assert [arm["role"] for arm in report["arms"]][3:] == ["beside"] * 3
    text = tables_of(report)["sweep"].to_csv()
    assert "9.0,TRUE" in text
    assert report["notes"] == ["12 pictures: few."]


def test_a_sweep_holds_no_arm_with_another_negative_prompt(study: Study) -> None:
    """Later arms of the same strengths, whose scores differ, neither replace points nor add some."""
    arms = sweep_arms(study, (1.0, 5.0, 9.0))
    before = objective_report(study, scoring_of(study, arms))["sweep"]
    others = sweep_arms(study, (1.0, 5.0, 7.0), "a red sofa")
    for image in Image.objects.filter(arm__in=others):
        store(image, 0.9)
    both = objective_report(study, scoring_of(study, arms + others))["sweep"]
    assert [each["points"] for each in both] == [each["points"] for each in before] != []
    assert objective_report(study, scoring_of(study, others))["sweep"] == []


def test_of_two_arms_of_one_strength_a_sweep_takes_the_first() -> None:
    """The baseline's negative prompt is the sweep's; without one that is classifier-free, it is the empty text."""
    sofa = "a sofa"
    kinds: list[Guidance] = [
        ClassifierFree(2.0, negative_prompt=sofa), ClassifierFree(5.0), ClassifierFree(5.0, negative_prompt=sofa),
        ClassifierFree(2.0, negative_prompt=sofa), ClassifierFree(5.0, negative_prompt=sofa, rescale=0.7),
    ]  # fmt: skip
    arms = [Arm(guidance=guidance.to_dict()) for guidance in kinds]
    assert arms_of_sweep(arms) == [(2.0, 0), (5.0, 2)]
    assert arms_of_sweep([Arm(guidance=SegmentationFree().to_dict()), *arms]) == [(5.0, 2)]
    assert arms_of_sweep([]) == []


def test_odd_pictures_are_counted_and_named(study: Study) -> None:
    images = list(Image.objects.filter(arm=study.comparisons.all()[0].baseline).order_by("prompt__index"))
    for image in images[:3]:
        store(image, 1.0, ONE_COLOUR)
    store(images[4], 1.0, f"{NOT_FINITE}:pickscore")
    ImageScore.objects.filter(image=images[5], metric=CLIP).delete()
    notes = objective_report(study)["notes"]
    assert "3 pictures of CFG w = 2 are of one colour (prompts 0, 1, 2)." in notes
    assert "PickScore is not finite for 1 picture of CFG w = 2 (prompts 4); left out." in notes
    assert "CLIP score (demo): 1 of 12 pictures of CFG w = 2 have none." in notes


def test_safety_verdicts_are_no_metric(study: Study) -> None:
    store(Image.objects.filter(arm__isnull=False)[0], 1.0, "safety:checker")
    assert [each["metric"] for each in objective_report(study)["metrics"]] == [CLIP]


@pytest.mark.parametrize(
    ("metric", "title", "higher"),
    [
        ("frechet:inception", "FID", False),
        ("cmmd:clip", "CMMD", False),
        ("pickscore", "PickScore", True),
        ("hps:ViT-H-14", "HPS (ViT-H-14)", True),
        ("ImageReward", "ImageReward", True),
    ],
)
def test_metrics_have_the_fields_names(metric: str, title: str, higher: bool) -> None:
    assert (in_words(metric).title, in_words(metric).higher_is_better) == (title, higher)


def test_every_table_of_metrics_comes_out_in_ascii(study: Study) -> None:
    """LaTeX's usual fonts lack the ω, τ and ∞ of these tables."""
    image = study.comparisons.all()[0].pairs.all()[0].candidate_image
    image.provenance = {"effective_strength": [[3.0, 0.5]]}
    image.save()
    arms = sweep_arms(study, (1.0, 5.0, 9.0))
    scoring = scoring_of(study, arms)
    for metric in ("frechet_infinite:inception", "frechet:clip"):
        ArmScore.objects.create(scoring=scoring, arm=arms[0], metric=metric, value=3.0, n=12)
    open_study(study)
    for name in ("grace", "alan"):
        rate_booklet(invite(study, name), lambda trial: trial.position % 5 - 2)
    tables = tables_of(objective_report(study, scoring))
    assert set(tables) == set(MAKERS)
    assert [name for name, table in tables.items() if not table.to_latex("Shapes").isascii()] == []


# ------------------------------------------------------------------------------ the page


def page_of(client: Client, study: Study, **query: str) -> str:
    client.force_login(study.owner)
    response = client.get(reverse("console:objective", args=[study.pk]), query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_the_page_shows_tables_files_and_scorings_in_few_queries(client: Client, study: Study) -> None:
    scoring = scoring_of(study, sweep_arms(study, (1.0, 5.0, 9.0)))
    open_study(study)
    for name in ("grace", "alan"):
        rate_booklet(invite(study, name), lambda trial: (trial.position % 5) - 2)
    page = page_of(client, study)
    for words in (
        "Metrics of all arms",
        "Wins against the baseline",
        "Do the metrics agree with people?",
        "Strength alone",
    ):
        assert words in page
    assert f"scoring {scoring.pk}" in page
    client.force_login(study.owner)
    assert queries_of(lambda: client.get(reverse("console:objective", args=[study.pk]))) <= 22
    for name in ("arms", "wins", "people", "sweep"):
        for kind in ("csv", "tex"):
            assert client.get(reverse("console:objective_table", args=[study.pk, name, kind])).status_code == 200
    for name in ("agreement", "strengths"):
        assert client.get(reverse("console:objective_figure", args=[study.pk, name, "svg"])).status_code == 200
    data = client.get(reverse("console:objective_json", args=[study.pk])).json()
    assert data["scoring"]["number"] == scoring.pk
    alone = client.get(reverse("console:objective_json", args=[study.pk]), {"scoring": "none"}).json()
    assert len(alone["arms"]) == 3


@pytest.mark.parametrize(
    "address", ["tables/none.csv", "tables/arms.xls", "none.svg", "agreement.gif", "agreement.svg"]
)
def test_files_that_are_not_there_are_not_found(client: Client, study: Study, address: str) -> None:
    client.force_login(study.owner)
    assert client.get(reverse("console:objective", args=[study.pk]) + address).status_code == 404


def test_a_scoring_is_started_from_the_page_or_refused_in_words(client: Client, study: Study) -> None:
    client.force_login(study.owner)
    address = reverse("console:objective", args=[study.pk])
    answer = client.post(address, {"prompts": "final", "metrics": "clip", "sweep": "1, 5 9"}, follow=True)
    assert "has been started" in answer.content.decode()
    scoring = study.scorings.get()
    assert len(scoring.plan["arms"]) == 6
    for data, told in (
        ({"sweep": "strong"}, "“strong” is no strength"),
        ({"sweep": "nan"}, "is no strength"),
        ({"metrics": "beauty"}, "there is no metric &#x27;beauty&#x27;"),
        ({"prompts": "some"}, "Select a valid choice"),
        ({"metrics": ""}, "name at least one metric"),
        ({"metrics": "clip", "spaces": "clip", "reference": "/etc"}, "EVENHAND_IMPORT_ROOTS names none"),
    ):
        page = client.post(address, {"prompts": "final", "metrics": "clip"} | data)
        assert told in page.content.decode()
    assert study.scorings.count() == 1


def test_reference_pictures_lie_where_the_console_may_read(
    client: Client, study: Study, tmp_path: Path, settings: Any
) -> None:
    settings.IMPORT_ROOTS = [str(tmp_path / "shared")]
    (tmp_path / "shared" / "coco").mkdir(parents=True)
    client.force_login(study.owner)
    address = reverse("console:objective", args=[study.pk])
    data = {"prompts": "final", "spaces": "clip"}
    for folder in ("/etc", str(tmp_path), f"{tmp_path}/shared/../..", "/nowhere/at/all"):
        page = client.post(address, data | {"reference": folder}).content.decode()
        assert "below none of the folders that EVENHAND_IMPORT_ROOTS names" in page, folder
    assert not study.scorings.exists()
    client.post(address, data | {"reference": f" {tmp_path}/shared/coco "})
    assert study.scorings.get().plan["reference"] == f"{tmp_path}/shared/coco"
    client.post(address, data | {"reference": "scenes"})
    assert study.scorings.count() == 2


def test_a_scoring_is_gone_on_with_where_its_reference_may_still_be_read(
    client: Client, study: Study, tmp_path: Path, settings: Any
) -> None:
    folder = tmp_path / "shared" / "coco"
    folder.mkdir(parents=True)
    settings.IMPORT_ROOTS = [str(tmp_path / "shared")]
    client.force_login(study.owner)
    address = reverse("console:objective", args=[study.pk])
    client.post(address, {"prompts": "final", "spaces": "clip", "reference": str(folder)})
    scoring = study.scorings.get()
    work_through({ScoringPart: scorings.HANDLER})
    assert scorings.progress_of(scoring).state == "failed"  # an empty folder
    settings.IMPORT_ROOTS = [str(tmp_path / "elsewhere")]
    page = client.post(address, {"go_on": scoring.pk}, follow=True).content.decode()
    assert "below none of the folders that EVENHAND_IMPORT_ROOTS names" in page
    assert scorings.progress_of(scoring).state == "failed"
    settings.IMPORT_ROOTS = [str(tmp_path)]
    page = client.post(address, {"go_on": scoring.pk}, follow=True).content.decode()
    assert "1 part of the scoring will be tried again" in page
    assert scorings.progress_of(scoring).state == "running"  # one of its parts is done


def test_a_draft_and_a_foreign_study_have_no_metrics(client: Client, study: Study) -> None:
    draft = make_draft(owner=study.owner, name="Draft")
    assert "prepare it first" in page_of(client, draft)
    assert client.get(reverse("console:objective_json", args=[draft.pk])).status_code == 404
    client.force_login(make_admin("grace"))
    for name in ("objective", "objective_json"):
        assert client.get(reverse(f"console:{name}", args=[study.pk])).status_code == 404
