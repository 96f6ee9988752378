"""Verify a bundle of a preference study with Python's standard library alone: ``python verify_bundle.py PATH``.

PATH is a bundle's folder or its zip file. Checked are the names of the files, every checksum, the hashes of the
configurations, the hash chains of the ratings with their root, that every rating's trial and every trial's pictures
exist and stand on the sides that the pairs say, and the counts. Problems are printed one a line. The exit status is 0
where all holds, 1 where something does not, and 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Any, NamedTuple

SUMS = "SHA256SUMS"
FORMAT, FORMAT_VERSION = "evenhand-bundle", 1
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")  # of every file in a bundle
SUM_LINE = re.compile(rf"([0-9a-f]{{64}})  ({NAME.pattern})\n")
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 5_000_000
MOST_BYTES = 200 * 2**30  # of all files together
LONGEST_LINE = 16 * 2**20  # bytes of a record
RATIO, RATIO_FROM = 200, 2**20  # a larger file of a zip may not unpack to more than so many times its size
BLOCK = 2**20
PROBLEMS_SHOWN = 100
PNG = b"\x89PNG\r\n\x1a\n"
REQUIRED = (
    "bundle.json", "prompts.jsonl", "images.jsonl", "pairs.jsonl", "check_pairs.jsonl", "booklets.jsonl",
    "trials.jsonl", "evaluators.jsonl", "ratings.csv", "provenance.json", "verify_bundle.py", "README.md",
)  # fmt: skip
UNREADABLE = (  # what reading a damaged file raises
    OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError,
    csv.Error,
)  # fmt: skip
MISFIT = (KeyError, TypeError, AttributeError, IndexError, *UNREADABLE)  # what a record of another form raises

Problems = Iterator[str]
Record = dict[str, Any]


class BundleError(ValueError):
    """Something that is no bundle, or whose names make it unsafe to read; each argument is a problem."""


# ------------------------------------------------------------------------------ folders and zip files


class Folder:
    """A bundle that was unpacked. ``sizes``: bytes of each file, by its name in the bundle."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        problems: list[str] = []
        for folder, folders, files in os.walk(path):
            for name in sorted([*folders, *files]):
                full = os.path.join(folder, name)
                problems += self._add(os.path.relpath(full, path).replace(os.sep, "/"), os.lstat(full))
        problems += name_problems(list(self.sizes))
        if problems:
            raise BundleError(*problems)

    def _add(self, name: str, status: os.stat_result) -> Problems:
        if stat.S_ISLNK(status.st_mode):
            yield f"{name!a} is a symbolic link, which may lead outside the bundle"
        elif stat.S_ISREG(status.st_mode):
            self.sizes[name] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            yield f"{name!a} is neither a file nor a folder"

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read its bytes."""
        return open(os.path.join(self.path, *name.split("/")), "rb")

    def close(self) -> None:
        """Do nothing: a folder holds nothing open."""


class Zip:
    """A bundle in a zip file: its files lie in one folder there, or at the top."""

    def __init__(self, path: str) -> None:
        try:
            self.zip = zipfile.ZipFile(path)
        except UNREADABLE as error:
            raise BundleError(f"{path} is no zip file that can be read: {error}") from error
        try:
            self.entries = bundle_entries(self.zip.infolist())
        except BaseException:
            self.zip.close()
            raise
        self.sizes = {name: entry.file_size for name, entry in self.entries.items()}

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read its bytes."""
        return self.zip.open(self.entries[name])

    def close(self) -> None:
        """Close the zip file."""
        self.zip.close()


Bundle = Folder | Zip


def bundle_entries(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return a zip file's entries by their names in the bundle. Raises ``BundleError`` where one is not safe."""
    problems = [problem for entry in entries for problem in entry_problems(entry)]
    files = [entry for entry in entries if not entry.filename.endswith("/")]
    tops = sorted({entry.filename.split("/")[0] for entry in files})
    at_top = any(entry.filename == SUMS for entry in files)
    if not at_top and len(tops) > 1:
        problems.append(f"its files do not lie in one folder, but in {shown(tops)}")
    cut = 0 if at_top or not tops else len(tops[0]) + 1
    if not problems:
        problems = name_problems([entry.filename[cut:] for entry in files])
    total = sum(entry.file_size for entry in files)
    if total > MOST_BYTES:
        problems.append(f"its files would unpack to {total} bytes, and {MOST_BYTES} are the most")
    if problems:
        raise BundleError(*problems)
    return {entry.filename[cut:]: entry for entry in files}


def entry_problems(entry: zipfile.ZipInfo) -> Problems:
    """Yield why an entry of a zip file is not safe to read."""
    name = entry.filename
    if entry.orig_filename != name:
        yield f"{entry.orig_filename!a} is no name of a file"
    elif name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        yield f"{name!a} is an absolute path, outside the bundle"
    elif ".." in name.split("/") or "\\" in name:
        yield f"{name!a} leads outside the bundle"
    elif stat.S_ISLNK(entry.external_attr >> 16):
        yield f"{name!a} is a symbolic link, which may lead outside the bundle"
    elif name.endswith("/") and entry.file_size:
        yield f"{name!a} is a folder with content"
    elif entry.flag_bits & 1:
        yield f"{name!a} is encrypted"
    elif entry.file_size > max(RATIO_FROM, RATIO * entry.compress_size):
        yield f"{name!a} would unpack from {entry.compress_size} to {entry.file_size} bytes: a zip bomb"


def name_problems(names: list[str]) -> list[str]:
    """Return what is wrong with the names of a bundle's files; two that differ by case alone are one on some disks."""
    if len(names) > MOST_FILES:
        return [f"it holds {len(names)} files, and {MOST_FILES} are the most"]
    counts = Counter(name.lower() for name in names)
    problems = [f"{name!a} is there {count} times" for name, count in counts.items() if count > 1]
    problems += [f"{name!a} is no name of a bundle's file" for name in names if not NAME.fullmatch(name)]
    return problems if SUMS in names else [*problems, f"{SUMS} is missing: this is no bundle"]


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Return the bundle at a path. Raises ``BundleError`` for what is none."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return Folder(path)
    if not os.path.exists(path):
        raise BundleError(f"{path} is not there")
    return Zip(path)


def shown(values: list[str]) -> str:
    """Return the first few values as text."""
    text = ", ".join(ascii(value) for value in values[:5])
    return f"{text} and {len(values) - 5} more" if len(values) > 5 else text


# ------------------------------------------------------------------------------ checksums


def check_sums(bundle: Bundle) -> Generator[str, None, str]:
    """Yield what is wrong with the files of a bundle, and return its root."""
    with bundle.open(SUMS) as file:
        data = file.read(MOST_FILES * 100)
    sums: dict[str, str] = {}
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(keepends=True), start=1):
        match = SUM_LINE.fullmatch(line)
        if match is None:
            yield f"{SUMS}, line {number}: is not a checksum, two spaces and a name"
        elif match[2] in sums:
            yield f"{SUMS}, line {number}: lists {match[2]} for the second time"
        else:
            sums[match[2]] = match[1]
    yield from (f"{SUMS} does not list {name}, which every bundle has" for name in sorted({*REQUIRED} - {*sums}))
    yield from (f"{name} is missing" for name in sorted({*sums} - {*bundle.sizes}))
    yield from (f"{name} is not listed in {SUMS}" for name in sorted({*bundle.sizes} - {*sums} - {SUMS}))
    for name in sorted({*sums} & {*bundle.sizes}):
        try:
            found = hash_of(bundle, name)
        except UNREADABLE as error:
            yield f"{name} cannot be read: {error}"
        else:
            if found != sums[name]:
                yield f"{name} has the wrong checksum: listed is {sums[name]}, it is {found}"
    return hashlib.sha256(data).hexdigest()


def hash_of(bundle: Bundle, name: str) -> str:
    """Return the SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with bundle.open(name) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


# ------------------------------------------------------------------------------ records


def document(bundle: Bundle, name: str) -> Record:
    """Return a JSON document of a bundle."""
    with bundle.open(name) as file:
        value = json.load(io.TextIOWrapper(file, "utf-8"))
    if not isinstance(value, dict):
        raise BundleError(f"{name} is no record")
    return value


def rows(bundle: Bundle, name: str) -> Iterator[tuple[int, Record]]:
    """Yield number and record of each line of a file. Raises ``BundleError`` for a line that is no record."""
    if name not in bundle.sizes:
        raise BundleError(f"{name} is missing")
    with bundle.open(name) as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BundleError(f"{name}, line {number}: is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise BundleError(f"{name}, line {number}: is no record")
            yield number, row


def csv_rows(text: io.TextIOWrapper) -> Iterator[dict[str, str]]:
    """Yield rows whose cells may be long; the limit is the interpreter's, and is put back."""
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        yield from csv.DictReader(text)
    finally:
        csv.field_size_limit(before)


def once(names: dict[Any, Any], name: Any, kind: str, value: Any = None) -> Problems:
    """Note a name with its value; yield a problem where it was noted before."""
    if name in names:
        yield f"{kind} {name!a} is there twice"
    else:
        names[name] = value


def known(names: Iterable[Any], name: Any, kind: str) -> Problems:
    """Yield a problem where a name is not among those that were noted."""
    if name not in names:
        yield f"{kind} {name!a} is not there"


class Answer(NamedTuple):
    """What is compared with the CSV of a rating in a chain. ``corrects``: the key of an earlier one."""

    trial: str
    choice: int
    counted: bool
    corrects: str | None


class Content:
    """What the records of a bundle say. Its methods yield problems, and note what later ones compare with."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.about = document(bundle, "bundle.json")
        form = (self.about.get("format"), self.about.get("format_version"))
        if form != (FORMAT, FORMAT_VERSION):
            raise BundleError(f"bundle.json: this program reads {FORMAT} {FORMAT_VERSION}, not {form[0]} {form[1]}")
        self.anonymous = self.about["anonymous"] is True
        self.counts: Counter[str] = Counter()
        self.prompts: dict[int, None] = {}
        self.images: dict[int, str] = {}  # hash of the picture
        self.pairs: dict[int, dict[int, str]] = {}  # side of each image: baseline or candidate
        self.checks: dict[int, set[int]] = {}  # images
        self.evaluators: dict[str, None] = {}
        self.public_ids: dict[str, str] = {}  # the evaluator's pseudonym
        self.booklets: dict[str, str | None] = {}  # its evaluator
        self.trials: dict[str, tuple[str | None, int, str]] = {}  # evaluator, position, kind
        self.versions: dict[int, str] = {}  # hash of the configuration
        self.answers: dict[tuple[str, str], Answer] = {}  # by public id and key
        self.root = ""

    def problems(self) -> Problems:
        """Yield everything that does not fit."""
        yield from self._configurations()
        for name, check in (
            ("prompts", self._prompt),
            ("images", self._image),
            ("pairs", self._pair),
            ("check_pairs", self._check_pair),
            ("evaluators", self._evaluator),
            ("booklets", self._booklet),
            ("trials", self._trial),
        ):
            yield from self.each(f"{name}.jsonl", check)
        pictures = {f"pictures/{sha256}.png" for sha256 in self.images.values()}
        unused = {name for name in self.bundle.sizes if name.startswith("pictures/")} - pictures
        yield from (f"{name} is no image's picture" for name in sorted(unused))
        self.counts["pictures"] = len(pictures)
        if not self.anonymous:
            yield from Chains(self).problems()
        yield from self._csv()
        for name, number in sorted(self.about["counts"].items()):
            if self.counts[name] != number:
                yield f"bundle.json: counts {number} {name}, there are {self.counts[name]}"

    def each(self, name: str, check: Callable[[Record], Problems]) -> Problems:
        """Yield the problems that ``check`` finds in the records of a file, and count them."""
        for number, row in rows(self.bundle, name):
            self.counts[name.partition(".")[0]] += 1
            try:
                yield from (f"{name}, line {number}: {problem}" for problem in check(row))
            except MISFIT as error:
                yield f"{name}, line {number}: is no such record: {type(error).__name__} {error}"

    def _configurations(self) -> Problems:
        for version in self.about["versions"]:
            name, sha256 = version["file"], version["sha256"]
            yield from once(self.versions, version["number"], "version", sha256)
            if name not in self.bundle.sizes:
                yield f"{name} is missing"
            elif not self.anonymous and hash_of(self.bundle, name) != sha256:
                yield f"{name} has not the hash of version {version['number']}, {sha256}"
        yield from known(self.versions, self.about["current_version"], "bundle.json: the current version")

    def _prompt(self, row: Record) -> Problems:
        yield from once(self.prompts, row["prompt_index"], "prompt")
        if not isinstance(row["text"], str) or not row["text"]:
            yield "has no text"

    def _image(self, row: Record) -> Problems:
        sha256, name = row["sha256"], row["file"]
        if not SHA256.fullmatch(sha256) or name != f"pictures/{sha256}.png" or name not in self.bundle.sizes:
            yield f"its picture {name!a} is not there"
        else:
            with self.bundle.open(name) as file:
                head = file.read(24)
            size = struct.unpack(">II", head[16:24]) if head[:8] == PNG else "no PNG"
            if size != (row["width"], row["height"]):
                yield f"its picture {name} is {size}, not {row['width']} by {row['height']} pixels"
        yield from known(self.prompts, row["prompt_index"], "prompt")
        yield from once(self.images, row["image"], "image", sha256)

    def _shows(self, row: Record, *sides: str) -> Problems:
        """Yield images that are not there, or that have another hash than the record says."""
        for side in sides:
            image = row[f"{side}_image"]
            yield from known(self.images, image, "image")
            if self.images.get(image) != row[f"{side}_sha256"]:
                yield f"image {image!a} has another hash"

    def _pair(self, row: Record) -> Problems:
        yield from self._shows(row, "baseline", "candidate")
        yield from known(self.prompts, row["prompt_index"], "prompt")
        sides = {row["baseline_image"]: "baseline", row["candidate_image"]: "candidate"}
        yield from once(self.pairs, row["pair"], "pair", sides)

    def _check_pair(self, row: Record) -> Problems:
        yield from self._shows(row, "better", "worse")
        yield from once(self.checks, row["check_pair"], "check pair", {row["better_image"], row["worse_image"]})

    def _evaluator(self, row: Record) -> Problems:
        yield from once(self.evaluators, row["evaluator"], "evaluator")
        if not self.anonymous:
            yield from once(self.public_ids, row["public_id"], "public id", row["evaluator"])

    def _booklet(self, row: Record) -> Problems:
        if row["evaluator"] is not None:
            yield from known(self.evaluators, row["evaluator"], "evaluator")
        yield from once(self.booklets, row["booklet"], "booklet", row["evaluator"])

    def _trial(self, row: Record) -> Problems:
        yield from known(self.booklets, row["booklet"], "booklet")
        yield from self._shows(row, "left", "right")
        images, side = {row["left_image"], row["right_image"]}, row["candidate_side"]
        if row["kind"] in ("main", "repeat"):
            pair = self.pairs.get(row["pair"], {})
            if {*pair} != images or side not in ("left", "right") or pair[row[f"{side}_image"]] != "candidate":
                yield f"does not show pair {row['pair']!a} with the candidate on the {side!a} side"
        elif self.checks.get(row["check_pair"]) != images:
            yield f"does not show check pair {row['check_pair']!a}"
        place = (self.booklets.get(row["booklet"]), row["position"], row["kind"])
        yield from once(self.trials, row["trial"], "trial", place)

    def _csv(self) -> Problems:
        """Compare the CSV with the chains; anonymously, see only whether each row's trial is there."""
        found: Counter[tuple[object, ...]] = Counter()
        places = {(evaluator, str(position), kind) for evaluator, position, kind in self.trials.values()}
        hashes = {*self.images.values(), ""}
        with self.bundle.open("ratings.csv") as file:
            for number, row in enumerate(csv_rows(io.TextIOWrapper(file, "utf-8", newline="")), start=1):
                place = (row["evaluator"], row["position"], row["trial_kind"])
                found[(*place, row["choice"], row["superseded"], row["counted"])] += 1
                if place not in places:
                    yield f"ratings.csv, rating {number}: its trial is not there"
                if not {row["baseline_image_sha256"], row["candidate_image_sha256"]} <= hashes:
                    yield f"ratings.csv, rating {number}: its pictures are not there"
        if self.anonymous:
            self.counts["ratings"] = sum(found.values())
            self.counts["deleted_ratings"] = self.about["counts"]["deleted_ratings"]
            return
        written = self._written()
        if found != written:
            other = (found - written) + (written - found)
            yield f"ratings.csv: its ratings are not those of chain.jsonl: {shown(sorted(map(str, other)))}"

    def _written(self) -> Counter[tuple[object, ...]]:
        """Return what the CSV must hold, by the chains."""
        corrected = {(person, rating.corrects) for (person, _), rating in self.answers.items()}
        return Counter(
            (
                *map(str, self.trials.get(rating.trial, ())),
                str(rating.choice),
                "TRUE" if key in corrected else "FALSE",
                "TRUE" if rating.counted else "FALSE",
            )
            for key, rating in self.answers.items()
        )


class Chains:
    """The hash chains of the ratings, followed row by row."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.ends: dict[str, tuple[int, str]] = {}  # number and hash of each evaluator's last rating

    def problems(self) -> Problems:
        """Yield what does not fit in the chains and their root; note the answers in the content."""
        content = self.content
        yield from content.each("chain.jsonl", self._row)
        for (person, key), rating in content.answers.items():
            if rating.corrects is not None and (person, rating.corrects) not in content.answers:
                yield f"chain.jsonl: rating {key} corrects one that is not there"
        lines = (f"{person} {sha256}\n" for person, (_, sha256) in self.ends.items())
        content.root = hashlib.sha256("".join(lines).encode()).hexdigest()
        for name in ("ratings_root", "ratings_root_at_closing"):
            root = content.about[name]
            if root != content.root and (root is not None or name == "ratings_root"):
                yield f"chain.jsonl: the root of the ratings is {content.root}, bundle.json says {root} ({name})"

    def _row(self, row: Record) -> Problems:
        person, sha256, text = row["evaluator"], row["sha256"], row["text"]
        yield from known(self.content.public_ids, person, "evaluator")
        sequence, previous = self.ends.get(person, (0, ""))
        self.ends[person] = (row["sequence"], sha256)
        if row["sequence"] != sequence + 1:
            yield f"rating {sequence + 1} of {person!a} is missing"
        elif row["previous_sha256"] != previous:
            yield "does not continue the rating before it"
        if text is None:
            self.content.counts["deleted_ratings"] += 1
            return
        self.content.counts["ratings"] += 1
        if hashlib.sha256(text.encode()).hexdigest() != sha256:
            yield "its text is not what was written"
        yield from self._rating(json.loads(text), row)

    def _rating(self, rating: Record, row: Record) -> Problems:
        """Yield what does not fit in a rating's text; ``row``: its record."""
        content = self.content
        if [rating[name] for name in ("evaluator", "sequence", "previous")] != [
            row[name] for name in ("evaluator", "sequence", "previous_sha256")
        ]:
            yield "its text is of another place in the chains"
        yield from known(content.trials, rating["trial"], "trial")
        if content.trials.get(rating["trial"], (None,))[0] != content.public_ids.get(row["evaluator"]):
            yield f"its trial {rating['trial']!a} is another evaluator's"
        yield from known(content.versions.values(), rating["version"], "version")
        yield from known((-2, -1, 0, 1, 2), rating["choice"], "choice")
        answer = Answer(*(rating[name] for name in Answer._fields))
        yield from once(content.answers, (row["evaluator"], rating["key"]), "rating", answer)


# ------------------------------------------------------------------------------ the whole


class Result:
    """What a verification found: its problems, the bundle's root, and the content where its checksums are right."""

    def __init__(self, problems: list[str], root: str = "", content: Content | None = None) -> None:
        self.problems, self.root, self.content = problems, root, content

    def summary(self) -> str:
        """Say in a few lines what was verified."""
        assert self.content is not None  # there are no problems
        about, counts = self.content.about, self.content.counts
        numbers = ", ".join(f"{counts[name]} {name}" for name in ("pairs", "pictures", "booklets", "trials", "ratings"))
        lines = [
            f"“{about['study']['name']}”: {numbers}; {counts['deleted_ratings']} ratings were deleted on request.",
            "Every checksum is right, and the records fit each other.",
            f"root of the ratings  {self.content.root}  every chain holds",
            f"root of the bundle   {self.root}",
        ]
        if self.content.anonymous:
            lines[2] = f"root of the ratings  {about['ratings_root']}  carried: this form cannot verify the chains"
        return "\n".join(lines)


def verify(bundle: Bundle, root: str | None = None) -> Result:
    """Verify an open bundle; ``root``: the one that it should have. Records are read where the checksums are right."""
    problems: list[str] = []
    found = ""
    sums = check_sums(bundle)
    try:
        while True:
            problems.append(next(sums))
    except StopIteration as end:
        found = end.value
    except UNREADABLE as error:
        problems.append(f"{SUMS} cannot be read: {error}")
    if root is not None and found and root.lower() != found:
        problems.append(f"the root of the bundle is {found}, not {root}")
    if problems:
        return Result(problems, found)
    try:
        content = Content(bundle)
        return Result(list(content.problems()), found, content)
    except BundleError as error:
        return Result(list(error.args), found)
    except MISFIT as error:
        return Result([f"a record is not of the known form: {type(error).__name__} {error}"], found)


def verify_path(path: str | os.PathLike[str], root: str | None = None) -> Result:
    """Verify the bundle at a path."""
    try:
        bundle = open_bundle(path)
    except BundleError as error:
        return Result(list(error.args))
    try:
        return verify(bundle, root)
    finally:
        bundle.close()


def main(arguments: list[str] | None = None) -> int:
    """Verify what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Verify a bundle of a preference study.")
    parser.add_argument("path", help="the bundle: its folder, or its zip file")
    parser.add_argument("--root", help="the root that the study's owner has published")
    options = parser.parse_args(arguments)
    result = verify_path(options.path, options.root)
    for problem in result.problems[:PROBLEMS_SHOWN]:
        print(problem, file=sys.stderr)
    if result.problems:
        print(f"{len(result.problems)} problems: this is not the bundle as it was written.", file=sys.stderr)
        return 1
    print(result.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main())
