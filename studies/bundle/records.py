"""Turn a study's rows into the records of a bundle: one plain dictionary a line, in a fixed order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import F, Q, QuerySet

from evenhand.studies.bundle.checkpoints import Checkpoints
from evenhand.studies.bundle.naming import Naming
from evenhand.studies.models import (
    Arm,
    Booklet,
    CheckPair,
    Evaluator,
    Image,
    ImageScore,
    Pair,
    Prompt,
    Rating,
    Study,
    SubsetPrompt,
    Trial,
)
from evenhand.studies.rating import chain
from evenhand.studies.unusable_pairs import marks_in_force

CHUNK = 2000
BOOKLETS_PER_READ = 200
Record = dict[str, Any]


def picture_name(sha256: str) -> str:
    """Return the path of a picture in a bundle."""
    return f"pictures/{sha256}.png"


def images_of(study: Study) -> QuerySet[Image]:
    """Return the images that the study shows: of its pairs and of its check pairs."""
    pairs = Pair.objects.filter(comparison__study=study)
    checks = CheckPair.objects.filter(study=study)
    return Image.objects.filter(
        Q(pk__in=pairs.values("baseline_image"))
        | Q(pk__in=pairs.values("candidate_image"))
        | Q(pk__in=checks.values("better"))
        | Q(pk__in=checks.values("worse"))
    ).order_by("pk")


def prompts(study: Study) -> Iterator[Record]:
    """Yield the first subset's prompts and those of every image, in the prompt set's order."""
    members = SubsetPrompt.objects.filter(subset=study.subset_id)
    rows_of_members = members.values_list("prompt", "clip_score", "stratum")
    marks = {prompt: (score, stratum) for prompt, score, stratum in rows_of_members}
    rows = Prompt.objects.filter(
        Q(pk__in=members.values("prompt")) | Q(pk__in=images_of(study).order_by().values("prompt"))
    ).order_by("index")
    for row in rows.iterator(CHUNK):
        score, stratum = marks.get(row.pk, (None, ""))
        yield {
            "prompt_index": row.index,
            "text": row.text,
            "source_id": row.source_id,
            "seed": row.seed,
            "in_subset": row.pk in marks,
            "clip_score": score,
            "stratum": stratum,
        }


def images(study: Study, checkpoints: Checkpoints) -> Iterator[Record]:
    """Yield the images that are shown, with all that is needed to make each again."""
    rows = images_of(study).select_related("prompt")
    drawn = Arm.objects.filter(pk__in=images_of(study).order_by().values("arm"))
    arms = {arm.pk: checkpoints.fingerprint(arm) for arm in drawn}
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    for image, metric, value in ImageScore.objects.filter(image__in=images_of(study).order_by()).values_list(
        "image", "metric", "value"
    ):
        scores[image][metric] = value
    for row in rows.iterator(CHUNK):
        yield {
            "image": row.pk,
            "sha256": row.sha256,
            "file": picture_name(row.sha256),
            "kind": row.kind,
            "prompt_index": row.prompt.index,
            "arm": None if row.arm_id is None else arms[row.arm_id],
            "seed": row.seed,
            "width": row.width,
            "height": row.height,
            "scores": dict(sorted(scores[row.pk].items())),
            "provenance": _provenance(row.provenance, checkpoints),
        }


def _provenance(provenance: Record, checkpoints: Checkpoints) -> Record:
    checkpoint = provenance.get("checkpoint")
    return provenance | {"checkpoint": checkpoints.name(checkpoint)} if isinstance(checkpoint, str) else provenance


def pairs(study: Study, *, anonymous: bool) -> Iterator[Record]:
    """Yield the pairs, by comparison and prompt.

    ``unusable``: why a pair is marked, in the anonymous form only that it is; None and false where it is not.
    """
    marks = dict(marks_in_force(study).values_list("pair", "reason"))
    rows = Pair.objects.filter(comparison__study=study).order_by("comparison__position", "prompt__index")
    values = rows.values(
        "pk", "stratum", "baseline_image", "candidate_image", "largest_difference",
        position=F("comparison__position"), prompt_index=F("prompt__index"), seed=F("baseline_image__seed"),
        baseline_sha256=F("baseline_image__sha256"), candidate_sha256=F("candidate_image__sha256"),
    )  # fmt: skip
    for row in values.iterator(CHUNK):
        yield {
            "pair": row["pk"],
            "comparison": row["position"] + 1,
            "prompt_index": row["prompt_index"],
            "stratum": row["stratum"],
            "seed": row["seed"],
            "baseline_image": row["baseline_image"],
            "baseline_sha256": row["baseline_sha256"],
            "candidate_image": row["candidate_image"],
            "candidate_sha256": row["candidate_sha256"],
            "largest_difference": row["largest_difference"],
            "unusable": row["pk"] in marks if anonymous else marks.get(row["pk"]),
        }


def check_pairs(study: Study) -> Iterator[Record]:
    """Yield the check pairs, by number."""
    for row in CheckPair.objects.filter(study=study).select_related("prompt", "better", "worse").order_by("number"):
        yield {
            "check_pair": row.number,
            "use": row.use,
            "fault": row.fault,
            "prompt_index": row.prompt.index,
            "better_image": row.better_id,
            "better_sha256": row.better.sha256,
            "worse_image": row.worse_id,
            "worse_sha256": row.worse.sha256,
        }


def _booklets_in_order(study: Study, naming: Naming) -> list[Booklet]:
    order = {pk: i for i, pk in enumerate(naming.booklets)}
    return sorted(Booklet.objects.filter(study=study, pilot=False), key=lambda booklet: order[booklet.pk])


def booklets(study: Study, naming: Naming) -> Iterator[Record]:
    """Yield the booklets: those of people, of simulations, and the remainders that were made of trials left behind."""
    for row in _booklets_in_order(study, naming):
        place = naming.booklets[row.pk]
        yield {
            "booklet": place.booklet,
            "block": place.block,
            "number": place.number,
            "simulated": row.simulated,
            "remainder": row.remainder,
            "evaluator": naming.evaluator(row.evaluator_id),
            "claimed_at": naming.time(row.claimed_at, row.evaluator_id),
        }


def trials(study: Study, naming: Naming) -> Iterator[Record]:
    """Yield every trial: what it shows to whom, where in the series, and which picture on which side."""
    ordered = _booklets_in_order(study, naming)
    order = {booklet.pk: i for i, booklet in enumerate(ordered)}
    for start in range(0, len(ordered), BOOKLETS_PER_READ):
        rows: Iterable[Record] = Trial.objects.filter(booklet__in=ordered[start : start + BOOKLETS_PER_READ]).values(
            "public_id", "booklet", "position", "kind", "criterion", "pair", "left_image", "right_image",
            "candidate_on_left", "expected_choice", "released", "shown_at",
            evaluator=F("booklet__evaluator"), check=F("check_pair__number"),
            left_sha256=F("left_image__sha256"), right_sha256=F("right_image__sha256"),
            repeat_of_id_=F("repeat_of__public_id"), repeat_of_position=F("repeat_of__position"),
            lead_id_=F("lead__public_id"), lead_position=F("lead__position"),
            replaces_id_=F("replaces__public_id"), replaces_position=F("replaces__position"),
            replaces_booklet=F("replaces__booklet"), skip_reason=F("skip__reason"),
        )  # type: ignore[assignment]  # fmt: skip
        for row in sorted(rows, key=lambda row: (order[row["booklet"]], row["position"])):
            yield _trial(row, naming)


def _trial(row: Record, naming: Naming) -> Record:
    booklet = row["booklet"]
    return {
        "trial": naming.trial(row["public_id"], booklet, row["position"]),
        "booklet": naming.booklets[booklet].booklet,
        "position": row["position"],
        "kind": row["kind"],
        "criterion": row["criterion"],
        "pair": row["pair"],
        "check_pair": row["check"],
        "left_image": row["left_image"],
        "left_sha256": row["left_sha256"],
        "right_image": row["right_image"],
        "right_sha256": row["right_sha256"],
        "candidate_side": {None: None, True: "left", False: "right"}[row["candidate_on_left"]],
        "expected_choice": row["expected_choice"],
        "repeat_of": naming.trial(row["repeat_of_id_"], booklet, row["repeat_of_position"]),
        "lead": naming.trial(row["lead_id_"], booklet, row["lead_position"]),
        "replaces": naming.trial(row["replaces_id_"], row["replaces_booklet"], row["replaces_position"]),
        "released": row["released"],
        "shown_at": naming.time(row["shown_at"], row["evaluator"]),
        "skipped": row["skip_reason"],
    }


PEOPLES_TIMES = (
    "consented_at",
    "introduced_at",
    "comprehension_passed_at",
    "screened_out_at",
    "finished_at",
    "withdrawn_at",
    "deleted_at",
    "freed_at",
)


def evaluators(study: Study, naming: Naming) -> Iterator[Record]:
    """Yield the evaluators under their pseudonyms, without a panel's ids, notes, or what opens a link.

    The public id stands in the chain's rows, and alone opens nothing; an anonymous bundle has neither.
    """
    exclusions: dict[int, list[Record]] = defaultdict(list)
    for each in study.exclusions.filter(evaluator__isnull=False).order_by("pk"):
        assert each.evaluator_id is not None
        times = {name: naming.time(getattr(each, name), None) for name in ("made_at", "lifted_at")}
        exclusions[each.evaluator_id].append({"reason": each.reason, **times})
    in_force = set(study.exclusions.filter(lifted_at=None, evaluator__isnull=False).values_list("evaluator", flat=True))
    rows = Evaluator.objects.filter(study=study, pilot=False).select_related("version").order_by("pk")
    people = [
        {
            "evaluator": naming.evaluator(row.pk),
            "simulated": row.simulated,
            "language": row.language,
            "excluded": row.pk in in_force,
            **{name: naming.time(getattr(row, name), row.pk) for name in PEOPLES_TIMES},
            "comprehension_tries": row.comprehension_tries,
        }
        | ({} if naming.anonymous else _named(row, exclusions[row.pk]))
        for row in rows
    ]
    yield from sorted(people, key=lambda person: str(person["evaluator"])) if naming.anonymous else people


def _named(row: Evaluator, exclusions: list[Record]) -> Record:
    """Return what the anonymous form leaves out."""
    return {
        "public_id": row.public_id,
        "version_sha256": row.version.sha256,
        "consent_text_sha256": row.consent_text_sha256,
        "age_confirmed": row.age_confirmed,
        "exclusions": exclusions,
    }


def chain_rows(study: Study) -> Iterator[Record]:
    """Yield the ratings' chains: the text that each hash covers, in the order in which the root is computed.

    A deleted rating has no text any more; its place and hashes stand.
    """
    rows = (
        Rating.objects.filter(evaluator__study=study, evaluator__pilot=False)
        .select_related("evaluator", "trial", "version", "corrects")
        .order_by("evaluator__public_id", "sequence")
    )
    for rating in rows.iterator(CHUNK):
        yield {
            "evaluator": rating.evaluator.public_id,
            "sequence": rating.sequence,
            "previous_sha256": rating.previous_sha256,
            "sha256": rating.sha256,
            "text": None if rating.deleted_at is not None else chain.row_text(rating),
        }
