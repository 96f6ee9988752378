"""Answer what reviewers ask from the record; an empty text leaves the answer to the researcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.models import Study
from evenhand.studies.results.report.wording import plural


@dataclass(frozen=True)
class Facts:
    """What answers are told from."""

    study: Study
    configuration: StudyConfiguration
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """A question of a checklist. ``answer``: from the record; an empty text leaves it to the researcher."""

    number: str
    asks: str
    answer: Callable[[Facts], str]


def says(text: str) -> Callable[[Facts], str]:
    """Return the answer that is the same for every study."""
    return lambda _facts: text


def nothing(_facts: Facts) -> str:
    return ""


def approval(facts: Facts) -> str:
    approval = facts.configuration.approval.strip()
    return f"Approval {approval}." if approval else ""


def payment(facts: Facts) -> str:
    return facts.configuration.payment.strip()


def recruitment(facts: Facts) -> str:
    return facts.configuration.recruitment.strip()


def texts(facts: Facts) -> str:
    questions = "; ".join(f"“{each.question}”" for each in facts.configuration.criteria)
    paid = f" Payment: {payment(facts)}" if payment(facts) else " Payment is not in the record: add it."
    return f"Consent, instructions, a pair as it was shown and all options stand above. Asked: {questions}.{paid}"


def risks(facts: Facts) -> str:
    known = approval(facts)
    return f"The consent that was read stands above. {known}" if known else ""


def evaluators(facts: Facts) -> str:
    evaluators = facts.report["evaluators"]
    return (
        f"{plural(evaluators['rated'], 'evaluator')} whose ratings count, of {evaluators['invited']} who were "
        f"invited or came; {evaluators['finished']} finished."
    )


def training(facts: Facts) -> str:
    configuration = facts.configuration
    parts = [
        text
        for text, there in (
            ("instructions with an example", configuration.introduction),
            (plural(configuration.practice_trials, "practice pair") + " with feedback", configuration.practice_trials),
            (plural(len(configuration.comprehension), "comprehension question"), configuration.comprehension),
        )
        if there
    ]
    return (
        ", ".join(parts).capitalize() + "." if parts else "None; the question and its options stand beside each pair."
    )


def quality(facts: Facts) -> str:
    report = facts.report
    parts = []
    if report["checks"]["n"]:
        parts.append(f"attention checks: {report['checks']['passed']} of {report['checks']['n']} passed")
    if report["repeats"]["n"]:
        parts.append(f"repeated pairs: {report['repeats']['n']}, sides swapped")
    out = report["left_out"]
    parts.append(f"{out['evaluators']} of {out['of']} evaluators left out, with reasons")
    parts.append("flags for fast answers, small pictures and straight lines, which exclude nobody by themselves")
    return "; ".join(parts).capitalize() + "."


def interface(facts: Facts) -> str:
    size = facts.report["provenance"]["recipe"]
    pixels = f" of {size['width']}×{size['height']} pixels" if size else ""
    return (
        f"A web page with one pair at a time: the prompt, two pictures{pixels} side by side on mid-grey (one after the "
        f"other on phones), the question and five options; arms are never named, sides are random."
    )


def sample(facts: Facts) -> str:
    per_comparison = [f"{each['pairs']} pairs for {each['candidate']}" for each in facts.report["comparisons"]]
    return f"{'; '.join(per_comparison)}; {plural(facts.report['n'], 'rating')} in all." if per_comparison else ""


def selection(facts: Facts) -> str:
    configuration = facts.configuration
    if configuration.ready_made:
        return ""  # whoever brought the pairs chose them, and the record does not know how
    kind = "a random draw" if configuration.draw == "random" else "a representative draw"
    around = ", ".join(f"{p:g}" for p in sorted(configuration.percentiles, reverse=True))
    return (
        f"By program: {kind} of {configuration.subset_size:,} prompts, then the {configuration.per_stratum} nearest to "
        f"each of the percentiles {around} of the CLIP score."
    )


def criteria(facts: Facts) -> str:
    return "; ".join(f"{each.name}: “{each.question}”" for each in facts.configuration.criteria) + "."


def options(facts: Facts) -> str:
    extra = f" A sixth: “{facts.configuration.both_bad_option}”." if facts.configuration.both_bad_option else ""
    return "; ".join(", ".join(each.options) for each in facts.configuration.criteria) + f".{extra}"


def statistics(_facts: Facts) -> str:
    return (
        "Shares, net preference and mean with intervals robust to clustering by evaluator and prompt (Cameron, Gelbach "
        "& Miller 2011); cumulative-link and, over three or more arms, Davidson’s model beside them; Holm’s adjustment."
    )


def agreement(facts: Facts) -> str:
    values = [
        f"{each['agreement']['alpha']:.2f} ({each['candidate']})"
        for each in facts.report["comparisons"]
        if each["agreement"]["alpha"] is not None
    ]
    told = f": {', '.join(values)}" if values else ", not computable here"
    return f"Krippendorff’s α, ordinal, with pairs as units{told}."


def stored(_facts: Facts) -> str:
    return (
        "Answers under a pseudonym, times, window and picture sizes; the panel’s id where people came from a panel. No "
        "name, address of the machine or demographic data is asked for by the application."
    )


def plan(facts: Facts) -> str:
    sha256 = facts.report["provenance"]["configuration_sha256"]
    opened = facts.report["provenance"]["dates"]["opened"]
    primary = facts.report["primary"]
    named = "with its primary outcome" if primary and primary["stated"] else "and names no primary outcome"
    return (
        f"The plan was frozen before the opening{f' on {opened[:10]}' if opened else ''} under SHA-256 {sha256[:16]}…, "
        f"{named}. Whether it was registered with a third party is not in the record: add it."
    )


def record(facts: Facts) -> str:
    root = facts.report["provenance"]["ratings_root"]
    return (
        f"A study bundle holds pictures, ratings and a verifier; root of the ratings {root}."
        if root
        else ("A study bundle holds pictures, ratings and a verifier.")
    )


def power_method(_facts: Facts) -> str:
    return (
        "The console plans power by formula and by simulation with clustered ratings (docs/statistics.md); whether "
        "it was used for this sample is for the researcher to say."
    )


def power_reached(facts: Facts) -> str:
    """Say which net preference this sample finds, by comparison; empty where none can be told."""
    found = [
        f"{100 * each['detectable']['net_share']:.0f} points or more ({each['candidate']} against {each['baseline']})"
        for each in facts.report["comparisons"]
        if each["detectable"]["net_share"] is not None
    ]
    if not found:
        return ""
    power = facts.report["comparisons"][0]["detectable"]["power"]
    return f"{power:.0%} for a net preference of {'; '.join(found)}, by the clustering that these ratings show."


def power_code(_facts: Facts) -> str:
    return "evenhand.analysis.power of the program that collected the ratings; docs/statistics.md describes it."


def platform(facts: Facts) -> str:
    version = facts.report["methods"][0]["versions"]["evenhand"]
    return f"Evenhand {version}, a web application, in the evaluator’s browser."


def quality_kinds(facts: Facts) -> str:
    plan_of = facts.configuration
    kinds = [
        kind
        for kind, there in (
            ("a comprehension check", plan_of.comprehension),
            ("attention checks", plan_of.attention_checks),
            ("repeated pairs", plan_of.repeats),
        )
        if there
    ]
    return ", ".join([*kinds, "flags of fast or unvarying answers"]).capitalize() + "."


def questions(facts: Facts) -> str:
    contact = "with a contact on the first and the last page" if facts.configuration.contact else "without a contact"
    remark = ", and a line for a remark beside answers" if facts.configuration.ask_remark else ""
    return f"A pair can be reported with a note, {contact}{remark}."


def form_or_content(facts: Facts) -> str:
    kinds = {"both": "both", "quality": "form", "match": "content"}
    return "; ".join(f"{each.name}: {kinds[each.decided_by]}" for each in facts.configuration.criteria) + "."


def against(facts: Facts) -> str:
    return (
        "; ".join(
            f"{each.name}: {'in its own right, the text is hidden' if each.hide_prompt else 'against the prompt'}"
            for each in facts.configuration.criteria
        )
        + "."
    )


def criteria_names(facts: Facts) -> str:
    names = ", ".join(each.name for each in facts.configuration.criteria)
    return f"{names}: names of the record; evaluators read the question alone."


def size(facts: Facts) -> str:
    return "6, of which two are neutral." if facts.configuration.both_bad_option else "5."


def repeats_method(facts: Facts) -> str:
    asked = facts.configuration.repeats
    return (
        f"{plural(asked, 'repeated pair')} a person, sides swapped: the same side again." if asked else "Not measured."
    )


def repeats_value(facts: Facts) -> str:
    repeats = facts.report["repeats"]
    if not repeats["n"]:
        return "Not measured." if not facts.configuration.repeats else ""
    return f"{100 * repeats['same_side']['estimate']:.0f} % of {repeats['n']} repeated pairs for the same side."
