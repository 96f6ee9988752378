"""Which ratings count, and what a report says of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from evenhand.generation.guidance import ClassifierFree, Guidance, SegmentationFree, fingerprint, methods
from evenhand.studies.exclusions import exclude
from evenhand.studies.lifecycle import close_study
from evenhand.studies.models import Arm, CheckPair, Evaluator, Exclusion, Rating, Study, Trial
from evenhand.studies.results.report import PopulationError, counting_ratings, short_names, study_report
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import always, invite, queries_of, rate, rate_booklet


def by_stratum(trial: Trial) -> int:
    """High: candidate strongly. Middle: none. Low: baseline slightly."""
    assert trial.pair is not None
    return {"high": 2, "middle": 0, "low": -1}[trial.pair.stratum]


def test_a_block_rated_by_rule_gives_the_rule_s_shares(study: Study) -> None:
    """Two booklets cover the 24 pairs once: in each comparison 4 of 12 high, 4 middle, 4 low."""
    for name in ("ada", "grace"):
        rate_booklet(invite(study, name, finished_at=timezone.now()), by_stratum)
    found = study_report(study)
    assert (found["population"], found["mark"], found["n"]) == ("real", "", 24)
    assert found["evaluators"] == {"invited": 2, "finished": 2, "rated": 2}
    for number, comparison in enumerate(found["comparisons"], 1):
        assert comparison["number"] == number
        assert (comparison["n"], comparison["pairs"], comparison["evaluators"]) == (12, 12, 2)
        assert comparison["counts"] == {
            "baseline_strong": 0, "baseline_slight": 4, "none": 4, "candidate_slight": 0, "candidate_strong": 4,
        }  # fmt: skip
        assert comparison["candidate_share"] == pytest.approx(1 / 3)
        assert comparison["baseline_share"] == pytest.approx(1 / 3)
        assert comparison["none_share"] == pytest.approx(1 / 3)
        assert comparison["strong"] == pytest.approx({"candidate": 1 / 3, "baseline": 0})
        assert comparison["slight"] == pytest.approx({"candidate": 0, "baseline": 1 / 3})
        assert comparison["intervals"]["net"]["estimate"] == pytest.approx(0.0)
        assert comparison["intervals"]["net"]["p"] is None  # the study still collects
        assert list(comparison["strata"]) == ["high", "middle", "low"]
        assert comparison["strata"]["high"]["candidate_share"] == 1.0
        assert comparison["strata"]["low"]["counts"]["baseline_slight"] == 4


def test_preferences_are_towards_the_candidate_on_either_side(study: Study) -> None:
    ada = invite(study, "ada")
    rate_booklet(ada, always(1))
    assert {trial.candidate_on_left for trial in ada.booklet.trials.all()} == {True, False}
    assert study_report(study)["comparisons"][0]["shares"]["candidate_slight"] == 1
    assert {rating.preference for rating in Rating.objects.all()} == {1}


def test_comparisons_are_kept_apart_and_named(study: Study) -> None:
    rate_booklet(invite(study, "ada"), lambda trial: 2 if trial.pair and trial.pair.comparison.position else -1)
    first, second = study_report(study)["comparisons"]
    assert (first["baseline_name"], first["candidate_name"]) == ("CFG w = 2", "a = 5")
    assert second["candidate"] == "SFG a=10, w̄=2.5, after T/2"
    why = "(no interval: all ratings are of one evaluator: how much evaluators differ cannot be told)"
    assert first["finding"] == f"CFG w = 2 (baseline) preferred in 100 % of 6 ratings {why}"
    assert second["finding"] == f"a = 10 preferred in 100 % of 6 ratings {why}"


def test_the_finding_gives_share_number_and_interval(study: Study) -> None:
    rng = np.random.default_rng(5)
    for name in ("ada", "grace", "alan", "joan"):
        rate_booklet(invite(study, name), lambda trial: int(rng.choice([-1, 0, 1, 2])))
    found = study_report(study)
    for comparison in found["comparisons"]:
        each = comparison["intervals"]["candidate"]
        assert each["estimate"] == pytest.approx(comparison["candidate_share"])
        assert each["low"] < each["estimate"] < each["high"]
        assert comparison["finding"] == (
            f"{comparison['candidate_name']} preferred in {100 * each['estimate']:.0f} % of 24 ratings, "
            f"95 % interval {100 * each['low']:.0f}–{100 * each['high']:.0f}"
        )
    assert found["finding"] == "; ".join(comparison["finding"] for comparison in found["comparisons"])


def test_an_even_split_is_no_win_however_strong_its_answers_are(study: Study) -> None:
    answers = [-2, -1, -1, 1, 1, 1, 0, 0, 0, 0]
    trials: list[Trial] = []
    for name in ("ada", "grace"):
        trials += Trial.objects.filter(booklet__evaluator=invite(study, name), pair__comparison__position=0)
    for trial, answer in zip(trials, answers, strict=False):
        rate(trial, answer)
    first = study_report(study)["comparisons"][0]
    assert (first["n"], first["baseline_share"], first["candidate_share"]) == (10, 0.3, 0.3)
    assert first["finding"].endswith("preferred equally often, each in 30 % of 10 ratings")


def test_agreement_is_over_pairs_and_evaluators(study: Study) -> None:
    """The second block shows the same pairs mirrored: whoever follows the same rule agrees perfectly."""
    for name in ("ada", "grace", "alan", "joan"):
        rate_booklet(invite(study, name), by_stratum)
    assert [comparison["alpha"] for comparison in study_report(study)["comparisons"]] == pytest.approx([1.0, 1.0])
    Rating.objects.filter(evaluator__note="joan").delete()
    joan = study.evaluators.get(note="joan")
    rate_booklet(joan, lambda trial: -by_stratum(trial))
    assert all(comparison["alpha"] < 0.9 for comparison in study_report(study)["comparisons"])


def _exclude(study: Study, **target: Any) -> None:
    Exclusion.objects.create(study=study, reason="pressed one key throughout", **target)


def _superseded(rating: Rating) -> None:
    Rating.objects.filter(pk=rating.pk).update(superseded=True)


def _late(rating: Rating) -> None:
    Rating.objects.filter(pk=rating.pk).update(counted=False)


def _practice(rating: Rating) -> None:
    trial = rating.trial
    known = CheckPair.objects.create(
        study=trial.booklet.study,
        number=0,
        use="practice",
        fault="other_prompt",
        prompt=trial.left_image.prompt,
        better=trial.left_image,
        worse=trial.right_image,
    )
    Trial.objects.filter(pk=trial.pk).update(kind="practice", check_pair=known, expected_choice=-1)


def _repeat(rating: Rating) -> None:
    Trial.objects.filter(pk=rating.trial_id).update(kind="repeat", repeat_of=rating.trial.booklet.trials.first())


def _excluded(rating: Rating) -> None:
    _exclude(rating.evaluator.study, rating=rating)


@pytest.mark.parametrize("change", [_superseded, _late, _practice, _repeat, _excluded])
def test_a_rating_does_not_count_if_it_is(change: Any, study: Study) -> None:
    ratings = rate_booklet(invite(study, "ada"), always(1))
    change(ratings[3])
    assert counting_ratings(study).count() == 11
    assert study_report(study)["n"] == study_report(study)["ratings"]["real"] == 11


def test_an_excluded_or_withdrawn_evaluator_does_not_count(study: Study) -> None:
    ada, grace, alan = (invite(study, name) for name in ("ada", "grace", "alan"))
    for evaluator in (ada, grace, alan):
        rate_booklet(evaluator, always(1))
    _exclude(study, evaluator=ada)
    grace.withdrawn_at = timezone.now()
    grace.save()
    found = study_report(study)
    assert [person["evaluator"] for person in found["people"] if not person["left_out"]] == [f"e{alan.pk}"]
    assert found["n"] == counting_ratings(study).count() == 12


def test_whoever_is_left_out_and_then_withdraws_is_counted_once(study: Study) -> None:
    ada, grace, alan = (invite(study, name) for name in ("ada", "grace", "alan"))
    for person in (ada, grace, alan):
        rate_booklet(person, lambda trial: trial.position % 3 - 1)
    exclude(ada, reason="took part twice", actor=study.owner)
    exclude(grace, reason="pressed one key", actor=study.owner)
    Exclusion.objects.create(study=study, rating=Rating.objects.filter(evaluator=ada).first(), reason="a slip")

    def told() -> dict[str, Any]:
        return study_report(study)["left_out"]

    assert [told()[name] for name in ("evaluators", "of", "ratings", "withdrawn")] == [2, 3, 1, 0]
    Evaluator.objects.filter(pk=ada.pk).update(withdrawn_at=timezone.now())
    assert [told()[name] for name in ("evaluators", "of", "ratings", "withdrawn")] == [1, 2, 0, 1]
    assert told()["reasons"] == [{"reason": "pressed one key", "n": 1}]
    assert study_report(study)["evaluators"]["rated"] == 1
    assert told()["evaluators"] + study_report(study)["evaluators"]["rated"] == told()["of"]


def test_a_lifted_exclusion_counts_again(study: Study) -> None:
    ada = invite(study, "ada")
    ratings = rate_booklet(ada, always(1))
    _exclude(study, evaluator=ada)
    _exclude(study, rating=ratings[0])
    assert study_report(study)["n"] == 0
    Exclusion.objects.update(lifted_at=timezone.now())
    assert study_report(study)["n"] == 12


def test_real_and_simulated_ratings_are_never_mixed_unasked(study: Study) -> None:
    rate_booklet(invite(study, "ada"), always(1))
    rate_booklet(invite(study, "", simulated=True), always(-2))
    found = study_report(study)
    assert (found["population"], found["mark"], found["n"]) == ("real", "", 12)
    assert found["ratings"] == {"real": 12, "simulated": 12}
    assert all(comparison["candidate_share"] == 1 for comparison in found["comparisons"])
    assert "simulated" not in found["finding"]
    simulated = study_report(study, population="simulated")
    assert all(comparison["baseline_share"] == 1 for comparison in simulated["comparisons"])
    assert simulated["finding"].count("(simulated)") == 2
    both = study_report(study, population="all")
    assert (both["n"], both["mark"], both["evaluators"]["invited"]) == (24, "real and simulated", 2)
    assert all(c["finding"].endswith("(real and simulated)") for c in both["comparisons"])


def test_simulated_ratings_alone_are_shown_and_marked(study: Study) -> None:
    invite(study, "ada")  # invited, but has rated nothing
    rate_booklet(invite(study, "", simulated=True), always(1))
    found = study_report(study)
    assert (found["population"], found["mark"]) == ("simulated", "simulated")
    assert found["evaluators"] == {"invited": 1, "finished": 0, "rated": 1}
    assert study_report(study, population="all")["mark"] == "simulated"
    assert study_report(study, population="real")["n"] == 0


def test_a_study_without_ratings_reports_nulls_that_json_knows(study: Study) -> None:
    found = json.loads(json.dumps(study_report(study), allow_nan=False))
    assert (found["population"], found["mark"], found["finding"]) == ("real", "", "No ratings yet")
    assert found["mean_elapsed_ms"] is None
    for comparison in found["comparisons"]:
        assert (comparison["n"], comparison["candidate_share"], comparison["alpha"]) == (0, None, None)
        told = comparison["intervals"]["candidate"]
        assert {told[name] for name in ("estimate", "low", "high", "standard_error", "p")} == {None}
        assert told["reason"] == "there are no ratings"
        assert comparison["no_interval"] == "there are no ratings"


def test_p_values_are_shown_when_no_more_ratings_can_come(study: Study) -> None:
    rng = np.random.default_rng(5)
    for name in ("ada", "grace", "alan", "joan"):
        rate_booklet(invite(study, name), lambda trial: int(rng.choice([-1, 0, 1, 2])))

    def shown() -> list[float | None]:
        return [comparison["intervals"]["net"]["p"] for comparison in study_report(study)["comparisons"]]

    Study.objects.filter(pk=study.pk).update(state=Study.State.COLLECTING)
    study.refresh_from_db()
    assert (study_report(study)["interim"], shown()) == (True, [None, None])
    close_study(study)
    assert study_report(study)["interim"] is False
    assert all(p is not None and 0 < p < 1 for p in shown())


def test_holm_counts_a_comparison_that_cannot_be_tested_and_none_without_ratings(study: Study) -> None:
    """Both comparisons are rated, the second with nothing that a test could use; then it loses its ratings."""
    rng = np.random.default_rng(1)

    def preference(trial: Trial) -> int:
        assert trial.pair is not None
        return int(rng.choice([-1, 1, 2])) if trial.pair.comparison.position == 0 else 0

    for name in ("ada", "grace", "alan", "joan", "mary", "hedy"):
        rate_booklet(invite(study, name), preference)
    Study.objects.filter(pk=study.pk).update(state=Study.State.CLOSED)
    study.refresh_from_db()
    first, second = study_report(study)["comparisons"]
    assert (second["n"], second["net_share"]["p"]) == (36, None)
    assert first["holm"]["comparisons"] == second["holm"]["comparisons"] == 2
    assert first["holm"]["adjusted_p"] == pytest.approx(2 * first["net_share"]["p"])
    assert second["holm"]["adjusted_p"] is None
    Rating.objects.filter(trial__pair__comparison__position=1).update(counted=False)
    first, second = study_report(study)["comparisons"]
    assert second["n"] == 0
    assert first["holm"]["comparisons"] == second["holm"]["comparisons"] == 1
    assert first["holm"]["adjusted_p"] == first["net_share"]["p"]


def test_strata_carry_intervals(study: Study) -> None:
    for name in ("ada", "grace", "alan", "joan"):
        rate_booklet(invite(study, name), by_stratum)
    strata = study_report(study)["comparisons"][0]["strata"]
    high = strata["high"]["intervals"]["candidate"]
    assert high["low"] < high["estimate"] == high["high"] == 1.0


def test_the_report_names_the_study_its_version_and_its_checkpoint(study: Study) -> None:
    ada = invite(study, "ada")
    trials = list(ada.booklet.trials.all())
    rate(trials[0], 1, elapsed_ms=2000)
    rate(trials[1], 1, elapsed_ms=5000)
    rate(trials[2], 1, elapsed_ms=None)
    found = study_report(study)
    assert study.current_version is not None
    assert (found["study"], found["version_hash"]) == ("Shapes", study.current_version.sha256)
    assert (found["checkpoint"], found["checkpoint_revision"]) == ("demo", "0" * 64)
    assert found["mean_elapsed_ms"] == 3500


def test_the_same_ratings_give_the_same_report(study: Study) -> None:
    rate_booklet(invite(study, "ada"), by_stratum)
    one, other = study_report(study), study_report(study)
    for report in (one, other):
        assert report["provenance"]["dates"].pop("computed")
    assert one == other


def test_another_study_s_ratings_stay_there(study: Study) -> None:
    other = make_ready_study(name="Others")
    rate_booklet(invite(study, "ada"), always(1))
    assert study_report(other)["n"] == 0


def test_the_number_of_queries_does_not_grow_with_the_ratings(study: Study) -> None:
    rate_booklet(invite(study, "ada"), by_stratum)
    few = queries_of(lambda: study_report(Study.objects.get(pk=study.pk)))
    for name in ("grace", "alan", "joan", "mary"):
        rate_booklet(invite(study, name), by_stratum)
    assert queries_of(lambda: study_report(Study.objects.get(pk=study.pk))) == few <= 15


def test_an_unknown_population_is_named(study: Study) -> None:
    with pytest.raises(PopulationError, match="'people' is none of real, simulated, all"):
        study_report(study, population="people")


def test_arms_that_would_share_a_short_name_keep_their_labels() -> None:
    twins = (SegmentationFree(10.0), SegmentationFree(10.0, strength=7.5))
    others = [methods()[name]() for name in ("adaptive_projected", "perturbed_attention", "classifier_free_plus_plus")]
    guidances: list[Guidance] = [ClassifierFree(7.5), SegmentationFree(5.0), *twins, *others]
    arms = [
        Arm(pk=i, label=f"arm {i}", guidance=g.to_dict(), fingerprint=fingerprint(g)) for i, g in enumerate(guidances)
    ]
    names = ["CFG w = 7.5", "a = 5", "arm 2", "arm 3", "APG w = 7.5", "PAG s = 3", "CFG++ λ = 0.6"]
    assert list(short_names(arms).values()) == names
