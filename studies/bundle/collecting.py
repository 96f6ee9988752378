"""Collect a bundle: write its records into a folder, check its pictures, and hash everything into one root.

Everything that is read from the database is read as of one moment. The pictures stay where they are until the bundle is
written, and are never in memory together.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.utils import timezone

from evenhand import __version__
from evenhand.errors import InputError
from evenhand.generation.guidance import OtherCheckpoint
from evenhand.sampling.prompts import prompts_sha256
from evenhand.studies.bundle import anonymous as anonymity
from evenhand.studies.bundle import records, verify_bundle
from evenhand.studies.bundle.checkpoints import Checkpoints, checkpoints_of
from evenhand.studies.bundle.naming import Naming, naming_of
from evenhand.studies.bundle.readme import readme
from evenhand.studies.bundle.snapshot import snapshot
from evenhand.studies.bundle.texts import texts
from evenhand.studies.configuration import StudyConfiguration
from evenhand.studies.drafts import configuration_of
from evenhand.studies.image_store import image_file
from evenhand.studies.models import Pair, Rating, Recipe, Replication, Study, SubsetPrompt
from evenhand.studies.rating import chain
from evenhand.studies.results import figures
from evenhand.studies.results.export import codebook, csv_lines
from evenhand.studies.results.report import study_report
from evenhand.studies.stores.base import StoredFile

LIBRARIES = ("torch", "diffusers", "transformers", "open_clip_torch", "numpy", "scipy", "pillow", "Django")
RECIPE = ("revision", "scheduler", "steps", "height", "width", "dtype", "batch_size")  # beside the checkpoint
SUMS = verify_bundle.SUMS


class ExportError(InputError):
    """A study that cannot be written as a bundle; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A file of a bundle: its path there, where its bytes lie now, how many they are, and their SHA-256."""

    name: str
    path: Path | StoredFile
    size: int
    sha256: str


@dataclass(frozen=True)
class Collected:
    """A bundle that is ready to be written. ``root`` is the SHA-256 of its list of checksums, 64 hex digits."""

    entries: tuple[Entry, ...]  # in the order of their names, the list of checksums last
    root: str
    study: str
    anonymous: bool

    @property
    def size(self) -> int:
        """Return the bytes of all files together."""
        return sum(entry.size for entry in self.entries)


def collect(
    study: Study, folder: Path, *, anonymous: bool = False, progress: Callable[[int, int], None] | None = None
) -> Collected:
    """Write a study's records into an empty folder and check its pictures against their hashes.

    progress: called with the pictures checked so far and all of them. Raises ``ExportError`` for a study that is not
    prepared, and for a picture whose file is missing or was changed.
    """
    with snapshot():
        study = Study.objects.select_related("current_version", "prompt_set", "recipe", "subset").get(pk=study.pk)
        if not Pair.objects.filter(comparison__study=study).exists():
            raise ExportError(f"“{study.name}” is {study.state} and has no pairs yet: prepare it first")
        writer = _Writer(folder)
        _write_records(study, writer, anonymous=anonymous)
        hashes = sorted(set(records.images_of(study).order_by().values_list("sha256", flat=True)))
    pictures = list(_pictures(hashes, progress))
    entries = sorted([*writer.entries, *pictures], key=lambda entry: entry.name)
    sums = writer.write(SUMS, [f"{entry.sha256}  {entry.name}\n" for entry in entries])
    return Collected((*entries, sums), sums.sha256, study.name, anonymous)


class _Writer:
    """Writes text files into a folder and notes their hashes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[Entry] = []

    def write(self, name: str, parts: Iterable[str | bytes]) -> Entry:
        """Write a file part by part."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            for part in parts:
                data = part.encode() if isinstance(part, str) else part
                digest.update(data)
                size += len(data)
                file.write(data)
        entry = Entry(name, path, size, digest.hexdigest())
        self.entries.append(entry)
        return entry

    def lines(self, name: str, rows: Iterable[records.Record]) -> int:
        """Write records as JSON, one a line; return how many there were."""
        count = 0

        def parts() -> Iterator[str]:
            nonlocal count
            for row in rows:
                count += 1
                yield json.dumps(row, ensure_ascii=False) + "\n"

        self.write(name, parts())
        return count

    def document(self, name: str, value: Any) -> None:
        """Write one JSON document, indented."""
        self.write(name, [json.dumps(value, ensure_ascii=False, indent=2) + "\n"])


def _write_records(study: Study, writer: _Writer, *, anonymous: bool) -> None:
    naming = naming_of(study, anonymous=anonymous)
    checkpoints = checkpoints_of(configuration_of(study), anonymous=anonymous)
    counts = {
        "prompts": writer.lines("prompts.jsonl", records.prompts(study)),
        "images": writer.lines("images.jsonl", records.images(study, checkpoints)),
        "pairs": writer.lines("pairs.jsonl", records.pairs(study, anonymous=anonymous)),
        "check_pairs": writer.lines("check_pairs.jsonl", records.check_pairs(study)),
        "booklets": writer.lines("booklets.jsonl", records.booklets(study, naming)),
        "trials": writer.lines("trials.jsonl", records.trials(study, naming)),
        "evaluators": writer.lines("evaluators.jsonl", records.evaluators(study, naming)),
        "pictures": records.images_of(study).order_by().values("sha256").distinct().count(),
        "ratings": Rating.objects.filter(evaluator__study=study, evaluator__pilot=False, deleted_at=None).count(),
        "deleted_ratings": Rating.objects.filter(evaluator__study=study, evaluator__pilot=False)
        .exclude(deleted_at=None)
        .count(),
    }
    if not anonymous:
        writer.lines("chain.jsonl", records.chain_rows(study))
    lines = csv_lines(study)
    writer.write("ratings.csv", anonymity.csv_rows(lines, naming) if anonymous else lines)
    writer.write("codebook.md", [codebook()])
    versions = _write_configurations(study, writer, anonymous=anonymous)
    for name, text in texts(study):
        writer.write(name, [text])
    _write_results(study, writer, anonymous=anonymous)
    writer.document("provenance.json", _provenance(study, anonymous=anonymous))
    writer.write("verify_bundle.py", [Path(verify_bundle.__file__).read_bytes()])
    description = _description(study, naming, versions, counts)
    writer.document("bundle.json", description)
    writer.write("README.md", [readme(description)])


def _write_configurations(study: Study, writer: _Writer, *, anonymous: bool) -> list[records.Record]:
    """Write every version's configuration in the very bytes that its hash covers; anonymously without the owner."""
    versions = []
    for row in study.versions.order_by("number"):
        name, text = f"configuration/version-{row.number}.json", row.configuration
        if anonymous:
            text = anonymity.without_owner(StudyConfiguration.from_json(text)).to_json()
        writer.write(name, [text])
        at = {} if anonymous else {"created_at": row.created_at.isoformat()}
        versions.append({"number": row.number, "file": name, "sha256": row.sha256, **at})
    return versions


def _write_results(study: Study, writer: _Writer, *, anonymous: bool) -> None:
    report = study_report(study)
    writer.document("report.json", anonymity.report_of_all(report) if anonymous else report)
    writer.write("figures/histogram.svg", [figures.histogram(report)])
    if report["n"]:
        writer.write("figures/diverging.svg", [figures.diverging(report)])
    subset = study.subset
    if subset is not None and subset.frechet_curve is not None:
        writer.write(
            "figures/frechet.svg", [figures.frechet_curve(subset.frechet_curve, subset.size, draw=subset.draw)]
        )


def _recipe(recipe: Recipe | None, checkpoints: Checkpoints) -> records.Record | None:
    if recipe is None:
        return None
    return {"checkpoint": checkpoints.name(recipe.checkpoint), **{name: getattr(recipe, name) for name in RECIPE}}


def _arms(study: Study, checkpoints: Checkpoints) -> Iterator[records.Record]:
    """Yield the arms that are compared, each with the recipe that draws it where this is not the study's."""
    recipes = {row.arm_id: row.recipe for row in study.arm_recipes.select_related("recipe")}
    compared = study.comparisons.select_related("baseline", "candidate").order_by("position")
    arms = {arm.pk: arm for each in compared for arm in (each.baseline, each.candidate)}
    for arm in arms.values():
        guidance = arm.to_guidance()
        other = isinstance(guidance, OtherCheckpoint)
        yield {
            "fingerprint": checkpoints.fingerprint(arm),
            "label": arm.label,
            "guidance": checkpoints.guidance(guidance).to_dict() if other else arm.guidance,
            **({"recipe": _recipe(recipes.get(arm.pk), checkpoints)} if other else {}),
        }


def _comparisons(study: Study, checkpoints: Checkpoints) -> Iterator[records.Record]:
    for each in study.comparisons.select_related("baseline", "candidate").order_by("position"):
        yield {
            "comparison": each.position + 1,
            "baseline": checkpoints.fingerprint(each.baseline),
            "candidate": checkpoints.fingerprint(each.candidate),
        }


def _provenance(study: Study, *, anonymous: bool) -> records.Record:
    """Say what made the pictures and chose the prompts: model, recipe, arms, sets with their hashes, libraries."""
    recipe, subset, prompt_set = study.recipe, study.subset, study.prompt_set
    configuration = configuration_of(study)
    assert configuration.ready_made or (recipe is not None and subset is not None)  # prepared; ready-made has neither
    checkpoints = checkpoints_of(configuration, anonymous=anonymous)
    texts_of_subset = (
        SubsetPrompt.objects.filter(subset=subset).order_by("prompt__index").values_list("prompt__text", flat=True)
    )
    members = subset and {
        field: getattr(subset, field)
        for field in (
            "size", "seed", "percentiles", "per_stratum", "draw", "deduplicate", "near_duplicate_cosine", "removed",
            "distance", "frechet_curve",
        )
    }  # fmt: skip
    made_with: dict[str, set[str]] = {}
    for provenance in records.images_of(study).order_by().values_list("provenance", flat=True).iterator(records.CHUNK):
        for library, number in provenance.get("versions", {}).items():
            made_with.setdefault(library, set()).add(str(number))
    return {
        "recipe": _recipe(recipe, checkpoints),
        "arms": list(_arms(study, checkpoints)),
        "comparisons": list(_comparisons(study, checkpoints)),
        "prompt_set": {
            field: getattr(prompt_set, field) for field in ("name", "source", "sha256", "count", "duplicates")
        },
        "subset": subset
        and {
            "encoder": anonymity.without_owner(configuration).encoder_name if anonymous else subset.encoder,
            **(members or {}),
            "sha256": prompts_sha256(texts_of_subset),
        },
        "stages": list(study.stages.order_by("position").values("name", "total", "evaluations")),
        "pictures_made_with": {library: sorted(numbers) for library, numbers in sorted(made_with.items())},
        "bundle_made_with": {"evenhand": __version__, "python": platform.python_version(), **_installed()},
    }


def _installed() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # a web machine has no models
            continue
    return found


def _description(
    study: Study, naming: Naming, versions: list[records.Record], counts: dict[str, int]
) -> records.Record:
    """Return ``bundle.json``: what the bundle is and what it counts."""
    current = study.current_version
    assert current is not None
    replication = Replication.objects.filter(study=study).defer("ratings").first()
    made_at = {} if naming.anonymous else {"made_at": timezone.now().isoformat(timespec="seconds")}
    return {
        "format": verify_bundle.FORMAT,
        "format_version": verify_bundle.FORMAT_VERSION,
        "anonymous": naming.anonymous,
        **made_at,
        "study": {"name": study.name, "state": study.state, "criteria": len(configuration_of(study).criteria)},
        "replicates": {"study": replication.original_name, "bundle_root": replication.bundle_root}
        if replication
        else None,
        "current_version": current.number,
        "versions": versions,
        "emptied_settings": list(anonymity.EMPTIED) if naming.anonymous else [],
        "ratings_root": chain.root(study),
        "ratings_root_at_closing": study.ratings_root or None,
        "counts": counts,
    }


def _pictures(hashes: list[str], progress: Callable[[int, int], None] | None) -> Iterator[Entry]:
    """Yield the pictures, each once, after their bytes were compared with their hash."""
    for count, sha256 in enumerate(hashes, start=1):
        file = image_file(sha256)
        try:
            data = file.read_bytes()
        except FileNotFoundError as error:
            raise ExportError(f"the picture {sha256} is missing from the store: {file}") from error
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ExportError(f"the picture {sha256} was changed in the store: {file} now holds {found}")
        yield Entry(records.picture_name(sha256), file, len(data), sha256)
        if progress is not None:
            progress(count, len(hashes))
