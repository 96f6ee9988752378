"""Write a row a pair and criterion, and a row an evaluator; both from the answers that results count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Count

from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Evaluator, Pair, Study, Trial
from evenhand.studies.results.export.cells import boolean, moment, number, words
from evenhand.studies.results.export.columns import LABELS, WITHDRAWN, Column
from evenhand.studies.results.export.ratings import exclusions_in_force
from evenhand.studies.results.report import counting_ratings, study_report

PAIR_COLUMNS = (
    Column("study", "text", "Name of the study.", "any text"),
    Column("comparison", "integer", "Number of the comparison within the study.", "1, 2, …"),
    Column("baseline_arm", "text", "Guidance of the arm compared against, as a rule the baseline.", "any text"),
    Column("candidate_arm", "text", "Guidance of the candidate.", "any text"),
    Column("criterion", "text", "Name of the criterion that was asked.", "as the study names it"),
    Column("simulated", "boolean", "Whether simulations gave these answers, not people.", "TRUE, FALSE"),
    Column("pair", "integer", "Identifier of the pair, as in the ratings.", "1, 2, …"),
    Column("prompt_index", "integer", "Place of the prompt in the prompt set, from 0.", "0, 1, …"),
    Column("prompt", "text", "The prompt as evaluators read it.", "any text"),
    Column("stratum", "text", "Stratum of the prompt by its CLIP score.", "high, middle, low, or p and a percentile"),
    Column("clip_score", "number, cosine", "CLIP score of the baseline picture.", "−1 … 1; empty where not scored"),
    Column("seed", "integer", "Seed of both pictures.", "0, 1, …"),
    Column("n", "integer", "Answers that count; none where the pair is excluded.", "0, 1, …"),
    *(Column(label, "integer", "Answers with this label that count.", "0, 1, …") for label in LABELS.values()),
    Column("both_bad", "integer", "Of those without a preference, how many said that both are bad.", "0, 1, …"),
    Column("mean_preference", "number", "Mean of −2 … 2 towards the candidate.", "−2 … 2; empty where n is 0"),
    Column("baseline_image_sha256", "text", "SHA-256 of the baseline's picture file.", "64 hex digits"),
    Column("candidate_image_sha256", "text", "SHA-256 of the candidate's picture file.", "64 hex digits"),
    Column("excluded", "boolean", "Whether the pair is marked as unusable.", "TRUE, FALSE"),
    Column("exclusion_reason", "text", "Why.", "the admin's words; empty where not excluded"),
)
COUNT_OF_STAYING = "0, 1, …; empty for people who withdrew"
EVALUATOR_COLUMNS = (
    Column("study", "text", "Name of the study.", "any text"),
    Column("evaluator", "text", "Pseudonym of the evaluator, as in the ratings.", "e and a number"),
    Column("evaluator_public_id", "text", "The evaluator's id in personal links.", "12 characters"),
    Column("simulated", "boolean", "Whether it is a simulation, not a person.", "TRUE, FALSE"),
    Column("version", "integer", "Version of the configuration that was in force on arrival.", "1, 2, …"),
    Column("language", "text", "Language in which the consent was read.", "a code; empty before the consent"),
    Column("came_at", "time, UTC", "When the link was made, or the person came.", "ISO 8601"),
    Column("consented_at", "time, UTC", "When the consent was given.", "ISO 8601; empty before"),
    Column("finished_at", "time, UTC", "When the last trial was answered.", "ISO 8601; empty before"),
    Column("dealt", "integer", "Main trials in the evaluator's booklet.", "0, 1, …"),
    Column(
        "n",
        "integer",
        "Main answers that were wanted and not corrected, whether left out or not; 0 for people who withdrew.",
        "0, 1, …",
    ),
    Column("mean_preference", "number", "Mean of −2 … 2 towards the candidate.", "−2 … 2; empty where n is 0"),
    Column("none_share", "number", "Part without a preference.", "0 … 1; empty where n is 0"),
    Column("median_ms", "number, milliseconds", "Median time of these answers.", "0 and above; empty where unknown"),
    Column("checks", "integer", "Attention checks that were answered and can tell.", COUNT_OF_STAYING),
    Column("checks_passed", "integer", "Of these, those answered for the better picture.", COUNT_OF_STAYING),
    Column("repeats", "integer", "Repeated pairs that were answered.", COUNT_OF_STAYING),
    Column("repeats_same", "integer", "Of these, those answered for the same side as before.", COUNT_OF_STAYING),
    Column(
        "flags",
        "text",
        "What makes the answers worth a look, in words.",
        "any text; empty where nothing does, and for people who withdrew",
    ),
    Column("excluded", "boolean", "Whether results leave the evaluator out.", "TRUE, FALSE"),
    Column("exclusion_reason", "text", "Why.", f"the admin's words, or {WITHDRAWN}; empty where not excluded"),
)


def head(columns: tuple[Column, ...]) -> str:
    """Return the line of names."""
    return ",".join(column.name for column in columns) + "\n"


def pair_lines(study: Study) -> Iterator[str]:
    """Yield a row a pair and criterion, of people and of simulations apart; pairs without answers are there with 0."""
    yield head(PAIR_COLUMNS)
    counts = _counted(study)
    unusable = exclusions_in_force(study).pairs
    kinds = sorted({simulated for _, _, simulated in counts} | {False})
    scores = dict(study.subset.members.values_list("prompt", "clip_score")) if study.subset else {}
    related = ("comparison__baseline", "comparison__candidate", "prompt", "baseline_image", "candidate_image")
    unread = ("baseline_image__provenance", "candidate_image__provenance")  # most of an image's row
    pairs = Pair.objects.filter(comparison__study=study).select_related(*related).defer(*unread)
    criteria = configuration_of(study).criteria
    for pair in pairs.order_by("comparison__position", "prompt__index").iterator(2000):
        for i, criterion in enumerate(criteria):
            for simulated in kinds:
                found = counts.get((pair.pk, i, simulated), Counter())
                n = sum(found[choice] for choice in LABELS)
                total = sum(choice * found[choice] for choice in LABELS)
                cells = (
                    words(study.name), number(pair.comparison.position + 1), words(pair.comparison.baseline.label),
                    words(pair.comparison.candidate.label), words(criterion.name), boolean(simulated), number(pair.pk),
                    number(pair.prompt.index), words(pair.prompt.text), words(pair.stratum),
                    number(scores.get(pair.prompt_id)), number(pair.baseline_image.seed), number(n),
                    *(number(found[choice]) for choice in LABELS), number(found["both_bad"]),
                    number(total / n if n else None), pair.baseline_image.sha256 or "",
                    pair.candidate_image.sha256 or "", boolean(pair.pk in unusable),
                    words("; ".join(unusable.get(pair.pk, ()))),
                )  # fmt: skip
                yield ",".join(cells) + "\n"


def _counted(study: Study) -> dict[tuple[int, int, bool], Counter[Any]]:
    """Count the answers that results count by pair, criterion and whether they are simulated; one query."""
    counts: dict[tuple[int, int, bool], Counter[Any]] = defaultdict(Counter)
    rows = (
        counting_ratings(study)
        .order_by()
        .values_list(
            "trial__pair", "trial__criterion", "evaluator__simulated", "trial__candidate_on_left", "choice", "both_bad"
        )
        .annotate(n=Count("pk"))
    )
    for pair, criterion, simulated, on_left, choice, both_bad, n in rows.iterator(2000):
        found = counts[pair, criterion, simulated]
        found[-choice if on_left else choice] += n
        found["both_bad"] += n if both_bad else 0
    return counts


def evaluator_lines(study: Study) -> Iterator[str]:
    """Yield a row an evaluator, invited ones too; without panel's ids, notes and codes."""
    yield head(EVALUATOR_COLUMNS)
    told = {each["evaluator"]: each for each in study_report(study, population="all")["people"]}
    by_evaluator = exclusions_in_force(study).evaluators
    dealt = Counter(
        Trial.objects.filter(booklet__study=study, kind=Trial.Kind.MAIN, booklet__evaluator__isnull=False)
        .order_by()
        .values_list("booklet__evaluator", flat=True)
    )
    people = Evaluator.objects.filter(study=study, pilot=False).select_related("version").order_by("pk")
    for person in people.iterator(2000):
        reasons = [*by_evaluator.get(person.pk, ()), *([WITHDRAWN] if person.withdrawn_at is not None else [])]
        yield ",".join([words(study.name), *_person(person, told.get(f"e{person.pk}", {}), dealt, reasons)]) + "\n"


def _person(person: Evaluator, told: Mapping[str, Any], dealt: Mapping[int, int], reasons: list[str]) -> list[str]:
    """Return the cells behind the study's name; what people who withdrew did is not told, as no result counts it."""
    untold = 0 if person.withdrawn_at is None else None
    return [
        f"e{person.pk}",
        words(person.public_id),
        boolean(person.simulated),
        number(person.version.number),
        words(person.language),
        moment(person.created_at),
        moment(person.consented_at),
        moment(person.finished_at),
        number(dealt.get(person.pk, 0)),
        number(told.get("n", 0)),
        *(number(told.get(name)) for name in ("mean_preference", "none_share", "median_ms")),
        *(number(told.get(name, untold)) for name in ("checks", "checks_passed", "repeats", "repeats_same")),
        words("; ".join(told.get("flags", []))),
        boolean(bool(reasons)),
        words("; ".join(reasons)),
    ]
