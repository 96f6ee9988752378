"""Write a methods paragraph from the record, to be shortened and put into a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenhand.studies.configuration import StudyConfiguration, arm_label, compared_in_words
from evenhand.studies.criteria import Criterion
from evenhand.studies.models import Pair, Study
from evenhand.studies.plan_in_words import said_of
from evenhand.studies.results.report.wording import plural
from evenhand.studies.results.tables.numbers import p_value, points

ORDINALS = {1: "st", 2: "nd", 3: "rd"}


def methods_paragraph(study: Study, configuration: StudyConfiguration, report: Mapping[str, Any]) -> list[str]:
    """Return the sentences on prompts, pictures, people and statistics, one paragraph each."""
    return [
        _prompts(study, configuration),
        _pictures(study, configuration),
        _people(configuration, report),
        _answers(configuration),
        _statistics(configuration, report),
    ]


def _prompts(study: Study, configuration: StudyConfiguration) -> str:
    source = study.prompt_set
    if configuration.ready_made:
        pairs = Pair.objects.filter(comparison__study=study)
        prompts = pairs.values("prompt").distinct().count()
        return (
            f"{plural(pairs.count(), 'pair')} of pictures of {plural(prompts, 'prompt')} (“{source.name}”) were given "
            "ready-made; none was drawn or selected by program."
        )
    around = listed([ordinal(p) for p in sorted(configuration.percentiles, reverse=True)])
    final = configuration.per_stratum * len(configuration.percentiles)
    drawn = "at random" if configuration.draw == "random" else "to represent the whole set"
    repeated = {
        "none": "",
        "exact": " after equal prompts were left out once",
        "near": " after near copies were left out",
    }
    return (
        f"From “{source.name}” ({plural(source.count, 'prompt')}) {configuration.subset_size:,} were drawn {drawn} "
        f"(seed {configuration.seed}){repeated[configuration.deduplicate]}, a size whose Fréchet distance to the whole "
        f"set was computed on CLIP text features. Of these, the {final:,} used here lie around the {around} "
        f"percentile{'s' if len(configuration.percentiles) > 1 else ''} of the CLIP score "
        f"({configuration.encoder_name}) of the baseline’s picture, {configuration.per_stratum} in each stratum."
    )


def _pictures(study: Study, configuration: StudyConfiguration) -> str:
    if configuration.ready_made:
        return _uploaded_pictures(configuration)
    recipe = study.recipe
    made = f"{recipe.width}×{recipe.height} pixels, {recipe.dtype}" if recipe else configuration.dtype
    revision = f", revision {recipe.revision[:12]}" if recipe and recipe.revision else ""
    return (
        f"Pictures were made by {configuration.checkpoint}{revision} with the scheduler {configuration.scheduler}, "
        f"{configuration.steps} iterations, {made}. The baseline is {arm_label(configuration.baseline)}; "
        f"{_compared(configuration)}. {_same_seed(configuration)}"
    )


def _same_seed(configuration: StudyConfiguration) -> str:
    if not configuration.brought:
        return "Both pictures of a pair come from one prompt and one seed."
    brought = listed([f"{arm_label(arm)} ({'; '.join(said_of(arm))})" for arm in configuration.brought])
    return (
        f"The pictures of {brought} were made elsewhere and uploaded. Both pictures of a pair show one prompt and have "
        "one size; generated ones come from one seed."
    )


def _compared(configuration: StudyConfiguration) -> str:
    if configuration.comparisons:
        return f"compared were {listed(compared_in_words(configuration))}"
    return f"it was compared with {listed([arm_label(each) for each in configuration.candidates])}"


def _uploaded_pictures(configuration: StudyConfiguration) -> str:
    arms = [f"{arm_label(arm)} ({'; '.join(said_of(arm))})" for arm in configuration.brought]
    return (
        f"All pictures were made elsewhere and uploaded. The baseline is {arms[0]}; it was compared with "
        f"{listed(arms[1:])}. Both pictures of a pair show one prompt and have one size."
    )


def _people(configuration: StudyConfiguration, report: Mapping[str, Any]) -> str:
    evaluators, dates = report["evaluators"], report["provenance"]["dates"]
    simulated = report["mark"] and f" These ratings are {report['mark']}: they are no people’s."
    during = (
        f" between {dates['opened'][:10]} and {dates['closed'][:10]}" if dates["opened"] and dates["closed"] else ""
    )
    recruited = f" ({configuration.recruitment.strip().rstrip('.')})" if configuration.recruitment.strip() else ""
    sentences = [
        f"{plural(evaluators['rated'], 'evaluator')}{recruited} gave {plural(report['n'], 'rating')} that "
        f"count{during}; each was dealt up to {plural(configuration.trials_per_evaluator, 'pair')}, balanced over "
        f"pairs, comparisons, strata and sides.{simulated or ''}"
    ]
    before = [
        text
        for text, there in (
            ("instructions with an example", configuration.introduction),
            (plural(configuration.practice_trials, "practice pair") + " with feedback", configuration.practice_trials),
            (plural(len(configuration.comprehension), "question") + " about the task", configuration.comprehension),
        )
        if there
    ]
    if before:
        sentences.append(f"Before the pairs came {listed(before)}.")
    among = [
        plural(count, noun)
        for count, noun in (
            (configuration.attention_checks, "attention check"),
            (configuration.repeats, "repeated pair"),
        )
        if count
    ]
    if among:
        sentences.append(f"Among the pairs stood {listed(among)} a person, which are no part of the results.")
    sentences.append(left_out_sentence(report))
    return " ".join(sentences)


def _answers(configuration: StudyConfiguration) -> str:
    several = len(configuration.criteria) > 1
    order = " in runs of their own" if configuration.runs else " one after the other of each pair"
    asked = "; ".join(_asked(each, several) for each in configuration.criteria)
    extra = (
        f" A sixth option, “{configuration.both_bad_option}”, counts as no preference."
        if configuration.both_bad_option
        else ""
    )
    return (
        f"Two pictures were shown side by side under their prompt, without the arms’ names, on neutral grey. "
        f"{'The questions' if several else 'The question'}{order if several else ''}: {asked}.{extra} "
        f"Options opened {configuration.options_delay_ms} ms after both pictures were visible; the last answer "
        f"{'could' if configuration.allow_correction else 'could not'} be corrected."
    )


def _asked(criterion: Criterion, several: bool) -> str:
    name = f"{criterion.name}, " if several else ""
    options = listed([f"“{option}”" for option in criterion.options])
    return f"{name}“{criterion.question}” with {options}"


def _statistics(configuration: StudyConfiguration, report: Mapping[str, Any]) -> str:
    level = f"{100 * report['level']:.0f} %"
    first, second = ("arm named first", "the second") if configuration.comparisons else ("candidate", "baseline")
    sentences = [
        f"Preferences are coded −2 … 2 towards the {first}. Shares, the net preference ({first} minus {second}) "
        f"and the mean carry {level} intervals that are robust to clustering by evaluator and by prompt at once "
        f"(Cameron, Gelbach & Miller 2011), with Student’s t and, as degrees of freedom, the smaller number of "
        f"clusters less one; intervals of shares are Wilson’s at the effective number of ratings."
    ]
    if len(configuration.compared) > 1:
        sentences.append("p-values of the comparisons are adjusted by Holm’s method within each criterion.")
    if report["primary"] is not None:
        sentences.append(_primary(report))
    if configuration.equivalence_margin:
        sentences.append(
            f"Two arms count as equally good where two one-sided tests place the net preference within "
            f"±{configuration.equivalence_margin:g} points, a margin set before the study was opened."
        )
    sentences.append("Agreement is Krippendorff’s α for ordinal data, with pairs as units.")
    return " ".join(sentences)


def _primary(report: Mapping[str, Any]) -> str:
    """Name the primary outcome, and say whether the plan did."""
    primary = report["primary"]
    main = report["comparisons"][primary["index"]]
    preference = (
        f"the net preference for {main['candidate']} over {main['baseline']} by the criterion “{main['criterion']}”"
    )
    if primary["stated"]:
        return f"The primary outcome, fixed in the plan before the first rating, is {preference}."
    return (
        "The plan named no primary outcome; reported as such is the first comparison by the first criterion, "
        f"{preference}."
    )


def left_out_sentence(report: Mapping[str, Any]) -> str:
    """Say how many evaluators were left out and why, and how many withdrew."""
    out = report["left_out"]
    reasons = listed([f"{each['n']} ({each['reason']})" for each in out["reasons"]])
    were = "was" if out["evaluators"] == 1 else "were"
    people = "1 person" if out["withdrawn"] == 1 else f"{out['withdrawn']} people"
    sentence = (
        f"{plural(out['evaluators'], 'evaluator')} of {out['of']} {were} left out{f': {reasons}' if reasons else ''}; "
        f"{people} withdrew."
    )
    if not out["pairs"]:
        return sentence
    why = listed([f"{each['n']} ({each['reason']})" for each in out["pair_reasons"]])
    were = "was" if out["pairs"] == 1 else "were"
    return (
        f"{sentence} {plural(out['pairs'], 'pair')} {were} marked as unusable: {why}; "
        f"{plural(out['n_without_pairs'], 'rating')} count without, {out['n_with_pairs']:,} with."
    )


def net_sentence(comparison: Mapping[str, Any]) -> str:
    """State a comparison's net preference with interval and p-values, as far as they are there."""
    net, holm = comparison["net_share"], comparison["holm"]
    whom = "the candidate" if comparison["against_baseline"] else comparison["candidate_name"]
    parts = [f"Net preference for {whom} {points(net['estimate'])} points"]
    if net["low"] is not None:
        parts.append(f"95 % interval {points(net['low'])} to {points(net['high'])}")
    if net["p"] is not None:
        adjusted = f", adjusted (Holm) {p_value(holm['adjusted_p'])}" if holm["comparisons"] > 1 else ""
        parts.append(f"{p_value(net['p'])}{adjusted}")
    reason = f" There is no interval: {comparison['no_interval']}." if comparison["no_interval"] else ""
    return f"{', '.join(parts)}.{reason}"


def change_sentence(change: Mapping[str, Any]) -> str:
    """State a change that was made after the study had been closed."""
    reason = f", “{change['reason']}”" if change["reason"] else ""
    return f"{change['at'][:10]}: {change['change']}, {change['evaluator']}{reason}"


def listed(parts: Sequence[str]) -> str:
    """Join parts as a sentence does: “a, b and c”."""
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def ordinal(number: float) -> str:
    """Write a percentile’s number: 90th, 1st, 97.5th."""
    whole = int(number)
    if number != whole or whole % 100 in (11, 12, 13):
        return f"{number:g}th"
    return f"{whole}{ORDINALS.get(whole % 10, 'th')}"
