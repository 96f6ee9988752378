"""Whatever people do, come back late, fall silent or withdraw, and whatever the admin does about them: in the end
every slot is filled once, counts once, and fairly.
"""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.studies.criteria import PRESETS
from evenhand.studies.drafts import configuration_of
from evenhand.studies.exclusions import ExclusionError, exclude, free_open_pairs, free_places, keep_open_pairs, lift
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import Booklet, Evaluator, Rating, Skip, Study, Trial
from evenhand.studies.rating import chain
from evenhand.studies.rating.answers import Conflict, skip_trial
from evenhand.studies.rating.enrolment import EnrolmentError, consent, enrol
from evenhand.studies.rating.progress import finish_if_done, progress_of
from evenhand.studies.rating.withdrawal import withdraw
from evenhand.studies.results.report import counting_ratings
from tests.helpers.factories import make_ready_study
from tests.helpers.ratings import record_rating

pytestmark = pytest.mark.django_db

LEASE = timedelta(minutes=180)


class World:
    """A study, the people in it with the page that each has open, and a clock that can be moved on."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.people: list[Evaluator] = []
        self.pages: dict[int, uuid.UUID] = {}
        self.now = timezone.now()

    def clock(self) -> Any:
        self.now += timedelta(seconds=1)
        return self.now

    def arrive(self) -> bool:
        """Somebody new; whether there was room."""
        person = enrol(self.study, note=f"person {len(self.people)}")
        try:
            consent(person)
        except EnrolmentError:
            return False
        self.people.append(person)
        self.look(person)
        return True

    def look(self, person: Evaluator) -> bool:
        """Load the page again; whether a trial is open."""
        progress = progress_of(Evaluator.objects.select_related("study__current_version").get(pk=person.pk))
        finish_if_done(person, progress)
        self.pages.pop(person.pk, None)
        if progress.trial is not None:
            self.pages[person.pk] = progress.trial.public_id
        return person.pk in self.pages

    def manage(self, person: Evaluator, what: str) -> None:
        """Do what the admin can do about a person, whether or not it makes sense now."""
        person.refresh_from_db()
        actor = self.study.owner
        with suppress(ExclusionError):
            if what == "free":
                free_open_pairs(person, actor=actor)
            elif what == "keep":
                keep_open_pairs(person, actor=actor)
            elif what == "leave out":
                exclude(person, reason="pressed one key", actor=actor)
            elif what == "give away":
                free_places(person, actor=actor)
                assert not person.ratings.exclude(slot=None).exists()
            else:
                lift(person, actor=actor)

    def correct(self, person: Evaluator) -> None:
        """Correct the last answer."""
        person.refresh_from_db()
        last = person.ratings.filter(superseded=False).order_by("-sequence").first()
        if last is not None and not person.withdrawn_at:
            trial, key = last.trial.public_id, uuid.uuid4()
            record_rating(evaluator=person, trial_id=trial, choice=-2, key=key, corrects=last.key)

    def answer(self, person: Evaluator, count: int) -> None:
        """Answer what the page shows, however old it is, and go on from there."""
        for n in range(count):
            person.refresh_from_db()
            if person.pk not in self.pages or person.withdrawn_at:
                return
            record_rating(evaluator=person, trial_id=self.pages[person.pk], choice=n % 5 - 2, key=uuid.uuid4())
            self.look(person)

    def skip(self, person: Evaluator) -> None:
        """Skip what the page shows, if it is still the person's to skip."""
        person.refresh_from_db()
        if person.pk in self.pages and not person.withdrawn_at:
            try:
                skip_trial(evaluator=person, trial_id=self.pages[person.pk], reason="skip")
            except Conflict:
                assert not self.is_open(self.pages[person.pk])
            self.look(person)

    def is_open(self, trial: uuid.UUID) -> bool:
        found = Trial.objects.get(public_id=trial)
        return not found.released and not Rating.objects.filter(slot=found.slot, superseded=False).exists()

    def act(self, event: tuple[Any, ...]) -> None:
        what, who, count = event
        if what == "arrive" or not self.people:
            self.arrive()
            return
        person = self.people[who % len(self.people)]
        if what == "answer":
            self.answer(person, count)
        elif what == "skip":
            self.skip(person)
        elif what == "silence":
            self.now += LEASE + timedelta(minutes=1)
        elif what == "withdraw":
            withdraw(person, delete=count % 2 == 0)
        elif what == "correct":
            self.correct(person)
        else:
            self.manage(person, what)

    def fill_up(self) -> None:
        """Everybody goes home; others come, and answer all they are given, until there is nothing left to give."""
        self.now += LEASE + timedelta(minutes=1)
        for _ in range(60):
            if not self.arrive():
                return
            self.answer(self.people[-1], 100)
        raise AssertionError("the study never fills up")


PEOPLE_DO = ["arrive", "arrive", "answer", "answer", "answer", "skip", "correct", "silence", "withdraw"]
ADMINS_DO = ["free", "keep", "leave out", "give away", "count again"]
EVENTS = st.tuples(
    st.sampled_from(PEOPLE_DO + ADMINS_DO),
    st.integers(0, 9),
    st.integers(1, 9),
)


SHAPE: dict[str, Any] = {"per_stratum": 2, "trials_per_evaluator": 6, "quota": 2, "attention_checks": 1, "repeats": 1}
CRITERIA = {"criteria": (PRESETS["match"], PRESETS["appeal"])}


@pytest.fixture
def world() -> World:
    """Twelve pairs in two booklets with a check and a repeat each, and room for two people."""
    return world_of()


def world_of(**changes: Any) -> World:
    study = make_ready_study(**SHAPE, **changes)
    open_study(study)
    assert configuration_of(study).lease_minutes == LEASE.total_seconds() / 60
    return World(study)


@pytest.mark.parametrize(
    "changes",
    [{}, CRITERIA | {"criteria_order": "together"}, CRITERIA | {"criteria_order": "runs"}],
    ids=["one criterion", "together", "runs"],
)
def test_any_pattern_of_leaving_ends_with_every_slot_filled_once(changes: dict[str, Any]) -> None:
    world = world_of(**changes)

    @settings(max_examples=40, deadline=None)
    @given(events=st.lists(EVENTS, max_size=30))
    def live(events: list[tuple[Any, ...]]) -> None:
        with pytest.MonkeyPatch.context() as patch, transaction.atomic():
            lived = World(world.study)
            patch.setattr(timezone, "now", lived.clock)
            for event in events:
                lived.act(event)
            lived.fill_up()
            check(lived.study)
            transaction.set_rollback(True)

    live()


def test_a_slot_that_was_filled_late_and_withdrawn_is_given_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", world.clock)
    for event in (("arrive", 0, 0), ("arrive", 0, 0), ("answer", 1, 9), ("silence", 0, 0), ("arrive", 0, 0)):
        world.act(event)
    grace, _, heidi = world.people
    world.answer(grace, 1)  # her page is old, and Heidi has its pair now, but has not answered it
    assert Rating.objects.get(evaluator=grace).counted
    world.answer(heidi, 100)
    heidi.refresh_from_db()
    assert heidi.finished_at is not None
    assert Rating.objects.filter(evaluator=heidi, trial__kind="main", counted=True).count() == 5
    assert not world.arrive()
    withdraw(grace)
    assert world.arrive()
    world.answer(world.people[-1], 100)
    check(world.study)


def test_nobody_is_asked_again_what_they_skipped(world: World) -> None:
    world.arrive()
    [person] = world.people
    repeated = Trial.objects.get(booklet__evaluator=person, kind="repeat").repeat_of
    while world.pages:
        shown = Trial.objects.get(public_id=world.pages[person.pk])
        assert shown.kind != "repeat"
        world.skip(person) if shown == repeated else world.answer(person, 1)
    person.refresh_from_db()
    assert person.finished_at is not None


def check(study: Study) -> None:
    """Slots, prompts, sides, checks, chains."""
    main = Trial.objects.filter(booklet__study=study, kind="main")
    claimed = Booklet.objects.filter(study=study, remainder=False).exclude(evaluator=None)
    assert set(claimed.values_list("number", flat=True)) == {0, 1}
    slots = set(main.filter(booklet__in=claimed).values_list("slot", flat=True))
    current = Rating.objects.filter(evaluator__study=study, superseded=False)
    filled = Counter(current.exclude(slot=None).values_list("slot", flat=True))
    skips = Skip.objects.filter(trial__kind="main", trial__booklet__evaluator__withdrawn_at=None)
    skipped = set(skips.values_list("trial__slot", flat=True))
    assert set(filled.values()) <= {1}
    assert set(Counter(counting_ratings(study).values_list("trial__slot", flat=True)).values()) <= {1}
    assert slots - skipped <= set(filled) <= slots
    assert not current.filter(slot__isnull=False, evaluator__withdrawn_at__isnull=False).exists()
    for person in Evaluator.objects.filter(study=study):
        shown = main.filter(booklet__evaluator=person, lead=None)
        prompts = shown.values_list("pair__prompt", flat=True)
        assert len(prompts) == len(set(prompts))
    sides = set(main.values_list("slot", "pair", "candidate_on_left"))
    assert len(sides) == main.values("slot").distinct().count()  # whoever fills a slot sees it as it was planned
    repeated = current.filter(trial__kind="repeat").values_list("trial__repeat_of", "evaluator")
    assert set(repeated) <= set(Rating.objects.values_list("trial", "evaluator"))
    assert list(chain.faults(study)) == []
