"""Nothing that reaches a browser besides the pixels tells which arm a picture belongs to, or which kind a trial is.

A whole study of simulated evaluators is recorded, page, JSON and picture, with every header, and then read with the
database at hand. Practice is known as practice, by design. The lengths of files are tested on more pairs than that.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest
from django.db import connection
from pytest_django.live_server_helper import LiveServer
from scipy import stats

from evenhand.demo import scenes
from evenhand.studies import check_pairs
from evenhand.studies.access import link_for
from evenhand.studies.image_store import store_picture
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Arm, CheckPair, Image, Pair, Prompt, Study, Trial
from evenhand.studies.simulation.deciders import Population, Preference, RecordDecider, enrol_simulated
from evenhand.studies.simulation.visits import Visitor, Walk
from tests.helpers.factories import make_ready_study
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 4
PRACTICE, CHECKS, REPEATS, PAIRS = 2, 3, 3, 12
OF = PAIRS + CHECKS + REPEATS
FIRST_KEY = 734_001  # primary keys that cannot be mistaken for a count or a position
TABLES = ("arm", "image", "pair", "comparison", "checkpair", "trial", "booklet", "evaluator", "rating", "prompt")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PICTURES = ("picture", "webp")
BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
CHANCE = 1e-5  # a test of independence that fails less often than this
LENGTHS_CHANCE = 1e-3  # the same for lengths of files, which are the same in every run
SIDES = ("left", "right")


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    who: int
    what: str  # page, json, picture (PNG) or webp
    method: str
    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        """Everything that can be read; of a picture all but its bytes."""
        body = "" if self.what in PICTURES else self.body.decode()
        return "\n".join((self.url, *(f"{name}: {value}" for name, value in self.headers), body))


@dataclass
class Recording:
    """A study's whole traffic, and the record to read it with."""

    study: Study
    exchanges: list[Exchange] = field(default_factory=list)
    links: dict[int, str] = field(default_factory=dict)

    def shown(self, what: str) -> Iterator[tuple[Exchange, Trial, dict[str, Any]]]:
        """Pages or JSON that show a trial, with the trial, and the JSON of the same progress."""
        trials = {str(t.public_id): t for t in Trial.objects.select_related("pair__prompt", "check_pair__prompt")}
        served = {}
        for exchange in self.exchanges:
            if exchange.what != "json":
                continue
            told = json.loads(exchange.body)
            status = told.get("next", told)
            if status.get("trial"):
                served[status["trial"]["id"]] = status
                if what == "json":
                    yield exchange, trials[status["trial"]["id"]], status
        for exchange in self.exchanges:
            found = re.search(r'name="trial" value="([^"]+)"', exchange.text) if exchange.what == "page" else None
            if found and what == "page":
                yield exchange, trials[found[1]], served[found[1]]


class Looking:
    """Loads the page before it answers, as a browser does that has come back."""

    def __init__(self, decider: RecordDecider, client: httpx.Client, path: str) -> None:
        self.decider, self.client, self.path = decider, client, path

    def choose(self, trial: Mapping[str, Any], pictures: Mapping[str, bytes]) -> int:
        self.client.get(self.path, headers={"Accept": "text/html"})
        self.client.get(self.path, headers={"Accept": "application/json"})
        for side in SIDES:
            self.client.get(trial[side], headers={"Accept": BROWSER})
        return self.decider.choose(trial, pictures)

    def comprehension(self) -> Mapping[str, str]:
        return self.decider.comprehension()


def scene(prompt: Prompt, arm: Arm) -> np.ndarray:
    """The prompt's scene, as another arm draws it a little differently, with the grain of a generated picture."""
    parsed = scenes.parse(prompt.text)
    rng = np.random.default_rng([prompt.index, int(arm.fingerprint[:8], 16)])
    picture = scenes.render(scenes.place(parsed, np.random.default_rng(prompt.index)))[0]
    grain = rng.normal(0, 1 + 0.25 * rng.random(), picture.shape)
    return np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)


def make_checks_anew(study: Study) -> None:
    """Check pairs with both faults, made as a preparation makes them; every picture gets a WebP."""
    for sha256 in Image.objects.values_list("sha256", flat=True):
        store_picture(image_path(sha256).read_bytes())
    ratios = check_pairs.size_ratios(study)
    checks = list(study.check_pairs.select_related("better__prompt"))
    others = [check.better for check in checks]
    for check in checks:
        check.fault = list(CheckPair.Fault)[check.number % 2]
        rng = np.random.default_rng(check.number)
        check.worse = check_pairs.worse_image(check.better, check.fault, others, ratios, rng)
        if check.worse.pk is None:
            check.worse.save()
        check.save()


@pytest.fixture
def recording(live_server: LiveServer) -> Recording:
    """A study with practice, checks (half of them damaged pictures), repeats and a break, walked to its end."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(
                    "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [f"studies_{table}", FIRST_KEY]
                )
    study = make_ready_study(
        draw=scene, quota=PEOPLE, introduction=True, practice_trials=PRACTICE, attention_checks=CHECKS, repeats=REPEATS,
        break_every=7,
    )  # fmt: skip
    make_checks_anew(study)
    open_study(study)
    made = Recording(study)
    people = enrol_simulated(study, PEOPLE)
    visitors = Population(Preference((0.5, 0.5))).visitors(people, seed=1)
    for who, visitor in enumerate(visitors):
        made.links[who] = visitor.path
        record(made, who, visitor, live_server.url)
    return made


def record(made: Recording, who: int, visitor: Visitor, url: str) -> None:
    def note(response: httpx.Response) -> None:
        response.read()
        kind = response.headers["Content-Type"].partition(";")[0]
        made.exchanges.append(
            Exchange(
                who=who,
                what={"image/png": "picture", "image/webp": "webp", "text/html": "page", "application/json": "json"}[
                    kind
                ],
                method=response.request.method,
                url=response.request.url.raw_path.decode(),
                status=response.status_code,
                headers=tuple((name.decode(), value.decode()) for name, value in response.headers.raw),
                body=response.content,
            )
        )

    with httpx.Client(base_url=url, event_hooks={"response": [note]}, timeout=30) as client:
        client.get(visitor.path, headers={"Accept": "text/html"})
        assert isinstance(visitor.decider, RecordDecider)
        looking = Visitor(visitor.path, Looking(visitor.decider, client, visitor.path), visitor.rng)
        walk = Walk(client, looking)
        assert walk.to_the_end() == "finished"
        assert walk.ratings == PRACTICE + OF
        client.get(visitor.path, headers={"Accept": "text/html"})


def without_names(made: Recording, exchange: Exchange, text: str, *prompts: str) -> str:
    """The text with the person's link, all random ids and the prompts blanked out."""
    text = text.replace(made.links[exchange.who], "/e/…/")
    for prompt in prompts:
        text = text.replace(prompt, "…")
    return UUID.sub("…", text)


def prompt_of(trial: Trial) -> str:
    """The text as the record has it: what is served must not differ by as much as a space."""
    shown = trial.pair or trial.check_pair
    assert shown is not None
    return shown.prompt.text


def test_nothing_that_is_served_leaks(recording: Recording) -> None:
    """One recording, read in every way (it takes some seconds to make)."""
    assert len(recording.exchanges) > PEOPLE * OF * 5
    assert {exchange.status for exchange in recording.exchanges} == {200}
    check_words(recording)
    check_headers(recording)
    check_pages_are_alike(recording)
    check_json_is_alike(recording)
    check_preloads_are_the_next_trials(recording)
    check_pictures_carry_pixels_alone(recording)
    check_two_pictures_are_of_one_length(recording)
    check_sides_and_positions(recording)
    check_ids_are_random(recording)


# ------------------------------------------------------------------------------ strings


def check_words(made: Recording) -> None:
    """No arm, hash, kind or primary key in any address, header, page or JSON."""
    hashes = set(Image.objects.values_list("sha256", flat=True))
    arms = [text for arm in Arm.objects.all() for text in (arm.fingerprint, arm.label)]
    words = re.compile(
        r"\b(baseline|candidate|comparison|stratum|[cs]fg|guidance|arms?|attention|repeat|repeats|repeat_of|expected"
        r"|released|slot|check_?pair|fault|altered|generated|kind|main_?trial|seed|clip)\b",
        re.IGNORECASE,
    )
    keys = re.compile(rf"(?<!\d){str(FIRST_KEY)[:3]}\d{{3}}(?!\d)")
    prompts = set(made.study.prompt_set.prompts.values_list("text", flat=True))
    for exchange in made.exchanges:
        text = exchange.text
        found = [text for text in (*hashes, *arms) if text in exchange.text]
        assert found == [], (exchange.url, found)
        plain = without_names(made, exchange, text, *(prompt for prompt in prompts if prompt in text))
        assert not keys.search(plain), (exchange.url, keys.search(plain))
        assert not words.search(plain), (exchange.url, words.search(plain))


def check_headers(made: Recording) -> None:
    """The same headers in the same order with the same values on every picture, every page and every JSON."""
    variants: dict[str, set[Any]] = defaultdict(set)
    for exchange in made.exchanges:
        headers = [(n, v) for n, v in exchange.headers if n.lower() != "date"]
        length = dict(headers).get("Content-Length")
        assert length is None or length == str(len(exchange.body))
        variants[exchange.what].add(tuple((n, "" if n == "Content-Length" else v) for n, v in headers))
    assert {what: len(kinds) for what, kinds in variants.items()} == {"page": 1, "json": 1, "picture": 1, "webp": 1}
    names = {name.lower() for what in PICTURES for name, _ in next(iter(variants[what]))}
    assert not names & {"etag", "last-modified", "set-cookie"}


def check_pages_are_alike(made: Recording) -> None:
    """At one position all pages are the same text, whatever their kind, but for link, ids and prompt."""
    texts, kinds = defaultdict(set), defaultdict(set)
    for exchange, trial, status in made.shown("page"):
        place = (trial.kind == "practice", status["trial"]["position"])
        texts[place].add(without_names(made, exchange, exchange.body.decode(), prompt_of(trial)))
        kinds[place].add(trial.kind)
    assert {place: len(variants) for place, variants in texts.items()} == dict.fromkeys(texts, 1)
    assert len(texts) == PRACTICE + OF
    assert sum(len(different) > 1 for different in kinds.values()) > OF // 2  # or nothing was compared


def check_json_is_alike(made: Recording) -> None:
    """So is the JSON; what follows a practice answer says that it was practice."""
    texts = defaultdict(set)
    for exchange, trial, status in made.shown("json"):
        if "feedback" not in exchange.body.decode():
            place = (exchange.method, status["state"], status["trial"]["position"])
            texts[place].add(without_names(made, exchange, exchange.body.decode(), prompt_of(trial)))
    assert {place: len(variants) for place, variants in texts.items()} == dict.fromkeys(texts, 1)
    assert len(texts) >= 2 * OF


def check_preloads_are_the_next_trials(made: Recording) -> None:
    """What is to be fetched ahead is what comes next, left before right: the order tells nothing more."""
    for who in made.links:
        addresses: dict[str, list[str]] = {}  # of all this person's trials, in the order of serving
        preloads = {}
        for exchange, _, status in made.shown("json"):
            if exchange.who == who:
                trial = status["trial"]
                addresses[trial["id"]] = [trial["left"], trial["right"]]
                preloads[trial["id"]] = status["preload"]
        order = list(addresses)
        for place, trial_id in enumerate(order):
            assert preloads[trial_id] == [addresses[following] for following in order[place + 1 : place + 3]]


# ------------------------------------------------------------------------------ pictures


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A PNG's chunks, by the PNG specification's section 5.3."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length
    assert at == len(png)


def check_pictures_carry_pixels_alone(made: Recording) -> None:
    """One header, the pixels, zeros, the end: no text, time, profile or compression setting sets a picture apart."""
    shapes = set()
    kinds = set(Trial.objects.filter(booklet__evaluator__isnull=False).values_list("left_image__kind", flat=True))
    assert kinds == {"generated", "altered"}
    for exchange in made.exchanges:
        if exchange.what == "picture":
            parts = list(chunks(exchange.body))
            data = b"".join(content for name, content in parts if name == b"IDAT")
            names = [name for name, _ in parts if name != b"IDAT"]
            assert names == [b"IHDR", b"paDd", b"IEND"]
            assert not any(dict(parts)[b"paDd"])
            end = zlib.decompressobj()
            end.decompress(data)
            assert end.unused_data == b""
            shapes.add((parts[0][1], data[:2]))  # size, depth, colour type; zlib's window and level
    assert len(shapes) == 1


def check_two_pictures_are_of_one_length(made: Recording) -> None:
    """Of every trial, whatever its kind, as PNG and as WebP."""
    for what in PICTURES:
        lengths = defaultdict(set)
        for exchange in made.exchanges:
            if exchange.what == what:
                lengths[exchange.url.rsplit("/", 2)[-2] if "example" not in exchange.url else "example"].add(
                    len(exchange.body)
                )
        assert len(lengths) >= PEOPLE * OF
        assert {trial: len(different) for trial, different in lengths.items()} == dict.fromkeys(lengths, 1)


# ------------------------------------------------------------------------------ statistics


def check_sides_and_positions(made: Recording) -> None:
    """Arms on the left as often as on the right; where a kind or a comparison stands is left to chance."""
    trials = list(
        Trial.objects.filter(booklet__evaluator__isnull=False)
        .exclude(kind="practice")
        .select_related("pair__comparison", "left_image", "right_image")
    )
    main = [trial for trial in trials if trial.kind == "main"]
    assert len(main) == PEOPLE * PAIRS
    assert sum(bool(trial.candidate_on_left) for trial in main) * 2 == len(main)  # whole blocks: exactly
    checks = [trial for trial in trials if trial.kind == "attention"]
    assert abs(2 * sum(trial.expected_choice == 1 for trial in checks) - len(checks)) <= PEOPLE
    first = [trial.position for trial in main if trial.pair and trial.pair.comparison.position == 0]
    second = [trial.position for trial in main if trial.pair and trial.pair.comparison.position == 1]
    assert stats.mannwhitneyu(first, second).pvalue > CHANCE
    left = [trial.position for trial in main if trial.candidate_on_left]
    assert stats.mannwhitneyu(left, [trial.position for trial in main if not trial.candidate_on_left]).pvalue > CHANCE
    places = [(trial.position - PRACTICE - 1.5) / (OF - 1) for trial in checks]  # anywhere but first
    assert stats.kstest(places, "uniform").pvalue > CHANCE


def check_ids_are_random(made: Recording) -> None:
    """A trial's public id is a version 4 UUID, and neither its value nor any of its digits goes with kind or side."""
    trials = list(
        Trial.objects.filter(booklet__evaluator__isnull=False).exclude(kind="practice").select_related("left_image")
    )
    assert {trial.public_id.version for trial in trials} == {4}
    main = [trial.kind == "main" for trial in trials]
    on_left = [bool(trial.candidate_on_left) for trial in trials if trial.kind == "main"]
    digits = np.array([[int(digit, 16) for digit in trial.public_id.hex] for trial in trials])  # (trials, 32)
    for flags, rows in ((np.array(main), digits), (np.array(on_left), digits[main])):
        for column in np.delete(rows, (12, 16), axis=1).T:  # without the version and the variant
            assert stats.mannwhitneyu(column[flags], column[~flags]).pvalue > CHANCE / 60


# ------------------------------------------------------------------------------ lengths of files


def test_no_length_tells_a_check_or_its_better_side() -> None:
    """Not even of the stored files, which are not served as they are: of 56 check pairs and 60 others."""
    study = make_ready_study(draw=scene, per_stratum=10, attention_checks=27, trials_per_evaluator=30)
    make_checks_anew(study)
    checks = [
        (check.better.sha256, check.worse.sha256) for check in study.check_pairs.select_related("better", "worse")
    ]
    mains = Pair.objects.filter(comparison__study=study).values_list(
        "candidate_image__sha256", "baseline_image__sha256"
    )
    assert (len(checks), len(mains)) == (56, 60)
    for kind in (0, 1):  # PNG, WebP
        check_lengths, main_lengths = (
            np.array([[check_pairs.sizes_of(sha256)[kind] for sha256 in pair] for pair in pairs])
            for pairs in (checks, mains)
        )
        assert independent(check_lengths, main_lengths)
        doubled = check_lengths * [1, 2]  # what noise does: the test finds it
        assert not independent(doubled, main_lengths)


def independent(checks: np.ndarray, mains: np.ndarray) -> bool:
    """Whether neither the length served nor the difference of two lengths goes with kind or side. (pairs, 2) each."""
    served = [stats.mannwhitneyu(checks.max(1), mains.max(1)).pvalue]
    larger = stats.binomtest(int((checks[:, 0] > checks[:, 1]).sum()), len(checks)).pvalue
    gaps = [np.abs(np.log(lengths[:, 0] / lengths[:, 1])) for lengths in (checks, mains)]
    return min(*served, larger, stats.mannwhitneyu(*gaps).pvalue, error_of_classifier(checks, mains)) > LENGTHS_CHANCE


def error_of_classifier(checks: np.ndarray, mains: np.ndarray) -> float:
    """How likely chance does as well as a nearest-neighbour classifier of kinds by length, left out one by one."""
    lengths = np.log(np.concatenate([checks.max(1), mains.max(1)]))
    kinds = np.repeat([True, False], [len(checks), len(mains)])
    distance = np.abs(lengths[:, None] - lengths)
    np.fill_diagonal(distance, np.inf)
    guessed = kinds[np.argsort(distance, axis=1)[:, :5]].mean(1) > 0.5
    right = int((guessed == kinds).sum())
    return float(stats.binomtest(right, len(kinds), max(kinds.mean(), 1 - kinds.mean()), alternative="greater").pvalue)


# ------------------------------------------------------------------------------ the other answers


def test_errors_tell_no_more_than_pages_do(live_server: LiveServer) -> None:
    """Answering a trial again, or before its turn, is refused in the same words for all kinds."""
    study = make_ready_study(attention_checks=CHECKS, repeats=REPEATS)
    open_study(study)
    [person] = enrol_simulated(study, 1)
    visitor = Population(Preference((0.5, 0.5))).visitor(person, np.random.default_rng(0), at_most=OF // 2)
    with httpx.Client(base_url=live_server.url, timeout=30) as client:
        assert Walk(client, visitor, fetch=False).to_the_end() == "left"
        refused: dict[bool, set[Any]] = defaultdict(set)
        skipped: dict[bool, set[Any]] = defaultdict(set)
        for trial in Trial.objects.filter(booklet__evaluator=person):
            sent = {"trial": str(trial.public_id), "choice": "1", "key": str(uuid.uuid4()), "reason": "skip"}
            answered = trial.position <= OF // 2
            if trial.position == OF // 2 + 1:
                continue  # the open one
            for what, told in (("rate", refused), ("skip", skipped)):
                reply = client.post(f"{link_for(person)}{what}/", data=sent, headers={"Accept": "application/json"})
                told[answered].add((reply.status_code, reply.json()["detail"]))
    assert {answered: len(replies) for answered, replies in refused.items()} == {True: 1, False: 1}
    assert {answered: len(replies) for answered, replies in skipped.items()} == {True: 1, False: 1}
