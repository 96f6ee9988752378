"""A replication: the same study for other people, and its results beside the original's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from evenhand.analysis.preference import preference_estimates
from evenhand.generation.guidance import ClassifierFree
from evenhand.studies.arms import arms_of
from evenhand.studies.assignment.booklets import build_blocks
from evenhand.studies.bundle.replicating import ReplicationError, replicate
from evenhand.studies.bundle.writing import export
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.lifecycle import close_study, open_study
from evenhand.studies.models import AuditEvent, Evaluator, Image, Pair, PromptSet, Rating, Replication, Study, Trial
from evenhand.studies.picture_flags import odd_pairs
from evenhand.studies.results.report import counting_ratings, study_report
from evenhand.studies.results.report.replication import replication_of
from evenhand.studies.undo import delete_study, return_to_draft
from evenhand.studies.unusable_pairs import mark_unusable, marks_in_force, take_back
from tests.helpers.bundles import rated_study, sum_again
from tests.helpers.factories import make_admin, make_ready_study
from tests.helpers.ratings import invite, rate_booklet
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db

SHOWN = {
    "place": F("position"),
    "left": F("left_image__sha256"),
    "right": F("right_image__sha256"),
    "pair_prompt": F("pair__prompt__text"),
    "comparison": F("pair__comparison__position"),
    "check_number": F("check_pair__number"),
    "repeated": F("repeat_of__position"),
    "leads": F("lead__position"),
}


def booklets(study: Study, **chosen: Any) -> list[dict[str, Any]]:
    """All that the planned booklets show, in their order."""
    trials = Trial.objects.filter(booklet__study=study, booklet__remainder=False, **chosen)
    order = ("booklet__simulated", "booklet__number", "position")
    columns = ("kind", "criterion", "candidate_on_left", "expected_choice", "booklet__block", "booklet__number")
    return list(trials.order_by(*order).values(*columns, "booklet__simulated", **SHOWN))


@pytest.fixture
def bella(db: None) -> Any:
    return make_admin("bella")


@pytest.mark.database
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_the_same_is_shown_to_other_people(study: Study, bella: Any, tmp_path: Path, form: str) -> None:
    target = tmp_path / ("x.zip" if form == "zip" else "x")
    root = export(study, target).root
    new = replicate(target, name="Again", owner=bella)
    assert (new.state, new.owner_id) == (Study.State.READY, bella.pk)
    assert booklets(new) == booklets(study)
    assert booklets(new)
    assert not Trial.objects.filter(
        booklet__study=new, slot__in=Trial.objects.filter(booklet__study=study).values("slot")
    )
    assert not new.evaluators.exists()
    found = Replication.objects.get(study=new)
    assert (found.bundle_root, found.original_name, found.original_state) == (root, "Shapes", "closed")
    assert found.original_version_sha256 == study.versions.get().sha256
    [event] = AuditEvent.objects.filter(study=new, action="replicated")
    assert event.detail["bundle_root"] == root


@pytest.mark.database
def test_pairs_scores_and_wording_are_the_same(study: Study, bundle: Path, bella: Any) -> None:
    new = replicate(bundle, name="Again", owner=bella)

    def pairs(of: Study) -> list[tuple[Any, ...]]:
        rows = Pair.objects.filter(comparison__study=of).order_by("comparison__position", "prompt__index")
        columns = ("comparison__position", "stratum", "prompt__text", "baseline_image__sha256", "candidate_image__seed")
        return list(rows.values_list(*columns, "candidate_image__sha256", "candidate_image__arm__fingerprint"))

    assert pairs(new) == pairs(study)
    assert study.subset is not None
    assert new.subset is not None
    scores = ("prompt__text", "clip_score", "stratum")
    assert list(new.subset.members.values_list(*scores)) == list(study.subset.members.values_list(*scores))
    old, fresh = configuration_of(study), configuration_of(new)
    assert (old.contact, old.completion_code) == ("ada@university.example", "CODE-4711")
    assert (fresh.contact, fresh.completion_code) == ("", "")
    assert fresh.criteria == old.criteria
    assert fresh.consent == old.consent
    assert new.prompt_set.source.startswith("bundle ")


def test_pictures_are_imported_by_their_hash(
    study: Study, bundle: Path, bella: Any, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "another-store"
    new = replicate(bundle, name="Again", owner=bella)
    rows = Image.objects.filter(prompt__prompt_set=new.prompt_set)
    assert rows.count() == 43
    for row in rows:
        assert image_path(row.sha256).read_bytes() == (bundle / "pictures" / f"{row.sha256}.png").read_bytes()


@pytest.mark.database
def test_further_booklets_are_those_that_the_original_would_have(study: Study, bundle: Path, bella: Any) -> None:
    new = replicate(bundle, name="Again", owner=bella)
    for each in (study, new):
        build_blocks(each, 5)
        build_blocks(each, 2, simulated=True)
    assert booklets(new, booklet__block__gte=2) == booklets(study, booklet__block__gte=2)
    assert len(booklets(new)) > len(booklets(new, booklet__block__lt=2))


@pytest.fixture
def flawed(tmp_path: Path) -> tuple[Study, Pair]:
    """A study with a pair that shows no difference, and one that is marked; a mark on a third was taken back."""
    study = make_ready_study()
    alike, marked, used = Pair.objects.filter(comparison__study=study).order_by("pk")[:3]
    Pair.objects.filter(pk=alike.pk).update(largest_difference=1)
    mark_unusable(marked, reason="a face is torn", actor=study.owner)
    mark_unusable(used, reason="by mistake", actor=study.owner)
    take_back(used, actor=study.owner)
    return study, marked


@pytest.mark.parametrize(("anonymous", "reason"), [(False, "a face is torn"), (True, "unusable in the original")])
def test_unusable_pairs_stay_out_and_differences_known(
    flawed: tuple[Study, Pair], bella: Any, tmp_path: Path, anonymous: bool, reason: str
) -> None:
    study, marked = flawed
    export(study, tmp_path / "x", anonymous=anonymous)
    assert ("torn" in (tmp_path / "x" / "pairs.jsonl").read_text(encoding="utf-8")) != anonymous
    new = replicate(tmp_path / "x", name="Again", owner=bella)
    [mark] = marks_in_force(new)
    assert mark.pair is not None
    assert mark.pair.candidate_image.sha256 == marked.candidate_image.sha256
    assert (mark.pair.prompt.text, mark.reason, mark.made_by_id) == (marked.prompt.text, reason, bella.pk)
    assert odd_pairs(new) == odd_pairs(study)
    assert odd_pairs(new)["alike_pairs"].count == 1


def test_bundles_from_before_differences_and_marks_stood_in_them_are_replicated(
    flawed: tuple[Study, Pair], bella: Any, tmp_path: Path
) -> None:
    export(flawed[0], tmp_path / "x")
    file = tmp_path / "x" / "pairs.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    later = ("largest_difference", "unusable")
    old = [{name: value for name, value in row.items() if name not in later} for row in rows]
    file.write_text("".join(json.dumps(row) + "\n" for row in old), encoding="utf-8")
    sum_again(tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=bella)
    assert not marks_in_force(new).exists()
    assert not Pair.objects.filter(comparison__study=new).exclude(largest_difference=None).exists()


def test_a_study_that_was_not_opened_can_be_replicated(bella: Any, tmp_path: Path) -> None:
    export(make_ready_study(), tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=bella)
    open_study(new)
    assert new.state == Study.State.COLLECTING
    report = study_report(new)["replication"]
    assert [row["original"]["n"] for row in report["comparisons"]] == [0, 0]


def test_an_anonymous_bundle_can_be_replicated(study: Study, anonymous: Path, bella: Any) -> None:
    new = replicate(anonymous, name="Again", owner=bella)
    open_study(new)
    blocks = {row["booklet__block"] for row in booklets(new, booklet__simulated=False)}
    for block in blocks:
        shown = [
            row["pair_prompt"]
            for row in booklets(new, booklet__block=block, booklet__simulated=False)
            if row["kind"] == "main"
        ]
        assert len(shown) == 24  # each block shows every pair once
    assert replication_of(new) is not None
    assert Replication.objects.get(study=new).anonymous


def test_two_replications_stand_beside_each_other(bundle: Path, bella: Any) -> None:
    for name in ("Again", "And again"):
        replicate(bundle, name=name, owner=bella)
    assert Replication.objects.count() == 2
    with pytest.raises(ReplicationError, match="there is a study named “Again” already"):
        replicate(bundle, name="Again", owner=bella)


@pytest.mark.database
def test_criteria_of_one_pair_stay_together(bella: Any, tmp_path: Path) -> None:
    from evenhand.studies.criteria import PRESETS

    study = rated_study(criteria=(PRESETS["match"], PRESETS["appeal"]))
    export(study, tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=bella)
    assert booklets(new) == booklets(study)
    assert any(row["leads"] for row in booklets(new))
    criteria = [row["criterion"] for row in study_report(new)["replication"]["comparisons"]]
    assert criteria == ["match", "match", "appeal", "appeal"]


# ------------------------------------------------------------------------------ the report


def table(study: Study) -> list[tuple[int, int, str, int]]:
    """Comparison, preference, prompt and evaluator of the counting ratings of people."""
    rows = counting_ratings(study).filter(evaluator__simulated=False).select_related("trial__pair__prompt")
    return [(r.trial.pair.comparison_id, r.preference, r.trial.pair.prompt.text, r.evaluator_id) for r in rows]  # type: ignore[union-attr, misc]


@pytest.mark.database
def test_the_report_shows_original_replication_and_both(bella: Any, tmp_path: Path) -> None:
    """The numbers are those of the ratings written down together, computed apart from the report."""
    study = make_ready_study(name="Shapes")
    open_study(study)
    rng = np.random.default_rng(4)
    for name in ("ada", "grace", "heidi"):
        rate_booklet(invite(study, name), lambda _: int(rng.integers(-1, 3)))
    close_study(study)
    export(study, tmp_path / "x")
    new = replicate(tmp_path / "x", name="Again", owner=bella)
    open_study(new)
    for name in ("ivan", "judy", "karl"):
        rate_booklet(invite(new, name), lambda _: int(rng.integers(-2, 2)))
    section = study_report(new)["replication"]
    assert section["original"]["study"] == "Shapes"
    assert section["original"]["ratings"] == {"real": 36, "simulated": 0}
    old, fresh = table(study), table(new)
    for position, row in enumerate(section["comparisons"]):
        parts = {}
        for each, rows in ((study, old), (new, fresh)):
            comparison = each.comparisons.get(position=position).pk
            parts[each.name] = [line[1:] for line in rows if line[0] == comparison]
        parts["both"] = parts["Shapes"] + parts["Again"]
        for name, key in (("Shapes", "original"), ("Again", "replication"), ("both", "pooled")):
            preference, prompt, evaluator = zip(*parts[name], strict=True)
            expected = preference_estimates(preference, evaluator, prompt)["net"]
            found = row[key]["net_share"]
            assert row[key]["n"] == len(preference)
            assert (found["estimate"], found["low"], found["high"]) == pytest.approx(
                (expected.estimate, expected.low, expected.high)
            )
        assert row["original"]["net_share"]["p"] is not None  # it was closed
        assert row["replication"]["net_share"]["p"] is row["pooled"]["net_share"]["p"] is None
        assert row["pooled"]["evaluators"] == row["original"]["evaluators"] + row["replication"]["evaluators"]
    json.dumps(section)


@pytest.mark.database
def test_only_ratings_that_count_are_taken_over(study: Study, bundle: Path, bella: Any) -> None:
    """Not those of Heidi, Ivan and Judy, nor practice, checks, repeats and corrected answers."""
    new = replicate(bundle, name="Again", owner=bella)
    found = replication_of(new)
    assert found is not None
    _, ratings = found
    counting = counting_ratings(study)
    assert len(ratings) == counting.count()
    assert len(ratings.of("real")) == counting.filter(evaluator__simulated=False).count()
    assert len(ratings.of("simulated")) == counting.filter(evaluator__simulated=True).count() > 0
    assert sorted(ratings.preference.tolist()) == sorted(r.preference for r in counting)  # type: ignore[type-var]


def test_a_study_that_replicates_nothing_says_so(study: Study) -> None:
    assert study_report(study)["replication"] is None
    assert replication_of(study) is None


def test_real_and_simulated_ratings_are_not_pooled_unasked(study: Study, bundle: Path, bella: Any) -> None:
    new = replicate(bundle, name="Again", owner=bella)
    real = study_report(new, population="real")["replication"]["comparisons"]
    simulated = study_report(new, population="simulated")["replication"]["comparisons"]
    together = study_report(new, population="all")["replication"]["comparisons"]
    for row, other, both in zip(real, simulated, together, strict=True):
        assert row["original"]["n"] + other["original"]["n"] == both["original"]["n"]


# ------------------------------------------------------------------------------ the command, and what is refused


def test_the_command_opens_a_study(bundle: Path, bella: Any, capsys: pytest.CaptureFixture) -> None:
    call_command("replicate", str(bundle), name="Again", owner="bella", verbosity=0)
    said = capsys.readouterr().out
    assert "“Again” replicates “Shapes” and is ready to be opened." in said
    assert "contact, approval, completion_code, completion_url, end_returns" in said
    with pytest.raises(CommandError, match="there is no user “nobody”"):
        call_command("replicate", str(bundle), name="Other", owner="nobody", verbosity=0)
    with pytest.raises(CommandError, match="is not there"):
        call_command("replicate", "/nowhere/x.zip", name="Other", owner="bella", verbosity=0)


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    def how(bundle: Path) -> None:
        text = (bundle / name).read_text(encoding="utf-8")
        assert old in text
        (bundle / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        sum_again(bundle)

    return how


def damage(bundle: Path) -> None:
    with (bundle / "pairs.jsonl").open("a") as file:
        file.write("\n")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (damage, "does not verify: pairs.jsonl has the wrong checksum"),
        (change("provenance.json", '"scale": 5.0', '"scale": 6.0'), "has not the fingerprint"),
        (change("provenance.json", '"steps"', '"step"'), "a record that this version does not know: KeyError 'steps'"),
        (change("prompts.jsonl", '"text": "', '"text": " '), "is not trimmed"),
        (change("check_pairs.jsonl", '"fault": "other_prompt"', '"fault": "unheard"'), "does not know: ValueError"),
        (change("images.jsonl", '"seed": 1,', '"seed": "x",'), "does not know"),
        (change("pairs.jsonl", '"largest_difference": null', '"largest_difference": 256'), "256, and lies in 0…255"),
        (change("pairs.jsonl", '"unusable": null', f'"unusable": "{"x" * 201}"'), "the reason has 201 characters"),
    ],
)
def test_a_bundle_that_does_not_fit_is_named_and_leaves_no_record(
    bundle: Path, bella: Any, how: Callable[[Path], None], message: str
) -> None:
    how(bundle)
    before = (Study.objects.count(), PromptSet.objects.count(), Image.objects.count())
    with pytest.raises(ReplicationError, match=message) as caught:
        replicate(bundle, name="Again", owner=bella)
    assert str(bundle) in str(caught.value)
    assert (Study.objects.count(), PromptSet.objects.count(), Image.objects.count()) == before


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_name_that_cannot_be_one_is_refused(bundle: Path, bella: Any, name: str) -> None:
    with pytest.raises(ReplicationError, match="a study's name has 1 to 100 characters"):
        replicate(bundle, name=name, owner=bella)


def test_records_of_the_original_are_left_alone(study: Study, bundle: Path, bella: Any) -> None:
    def state() -> list[Any]:
        return [
            list(Rating.objects.filter(evaluator__study=study).order_by("pk").values_list("pk", "sha256")),
            list(Evaluator.objects.order_by("pk").values_list("pk", "study")),
            StudyConfiguration.from_json(study.versions.get().configuration),
            list(Image.objects.filter(prompt__prompt_set=study.prompt_set).order_by("pk").values_list("pk", "sha256")),
        ]

    before = state()
    replicate(bundle, name="Again", owner=bella)
    assert state() == before


@pytest.mark.database
def test_a_replication_that_returns_to_its_draft_is_none_any_more(bundle: Path, bella: Any) -> None:
    new = replicate(bundle, name="Again", owner=bella)
    return_to_draft(new, actor=bella)
    assert not Replication.objects.exists()
    again = replicate(bundle, name="Once more", owner=bella)
    delete_study(again, actor=bella)
    assert not Study.objects.filter(name="Once more").exists()


def test_free_comparisons_are_replicated_with_their_arms(bella: Any, tmp_path: Path) -> None:
    arms = tuple(ClassifierFree(float(w)) for w in (2, 3, 4))
    study = make_ready_study(baseline=arms[0], candidates=arms[1:], comparisons=((1, 2), (2, 0)))
    open_study(study)
    rate_booklet(invite(study, "grace"), lambda trial: 1)
    close_study(study)
    export(study, tmp_path / "bundle")
    again = replicate(tmp_path / "bundle", name="Again", owner=bella)
    named = [("CFG w = 3", "CFG w = 4", False), ("CFG w = 4", "CFG w = 2", False)]
    keys = ("baseline_name", "candidate_name", "against_baseline")
    for each in (study, again):
        assert [tuple(found[key] for key in keys) for found in study_report(each)["comparisons"]] == named
    assert [arm.pk for arm in arms_of(again)] == [arm.pk for arm in arms_of(study)]
    assert [arm.guidance["strength"] for arm in arms_of(again)] == [2.0, 3.0, 4.0]
