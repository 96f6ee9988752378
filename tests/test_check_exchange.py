"""Exchanging check pairs before a study is opened: another prompt or fault, once, and never after."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.db import connection

from evenhand.generation.images import decode_png
from evenhand.studies import check_exchange
from evenhand.studies.check_exchange import (
    ExchangeError,
    StaleExchangeError,
    exchange_fault,
    exchange_prompt,
    other_faults,
)
from evenhand.studies.criteria import PRESETS
from evenhand.studies.lifecycle import open_study
from evenhand.studies.models import AuditEvent, CheckPair, Image, Prompt, Study, SubsetPrompt, Trial
from tests.helpers.check_pairs import SPARE, pair_of, with_spare_prompts
from tests.helpers.factories import make_admin
from tests.helpers.stored import image_path

pytestmark = pytest.mark.django_db


def test_another_prompt_is_outside_the_final_subset_and_no_other_pairs() -> None:
    study = with_spare_prompts()
    ada = make_admin("grace")
    before = pair_of(study)
    others = {pair.prompt.text for pair in study.check_pairs.exclude(number=0).select_related("prompt")}
    pair = exchange_prompt(before, actor=ada)
    assert pair.prompt != before.prompt
    assert pair.better.prompt == pair.prompt
    assert pair.passed_over == [before.prompt_id]
    assert pair.prompt.text not in others
    final = SubsetPrompt.objects.filter(subset=study.subset).exclude(stratum="")
    assert not final.filter(prompt=pair.prompt).exists()
    assert (pair.use, pair.fault, pair.number) == (before.use, before.fault, before.number)
    assert pair.worse.prompt.text not in (pair.prompt.text, before.prompt.text)
    event = AuditEvent.objects.get(action="check pair exchanged")
    assert (event.actor, event.detail["prompt"]) == (ada, [before.prompt.text, pair.prompt.text])


def test_no_prompt_comes_back_until_none_is_left() -> None:
    study = with_spare_prompts()
    seen = {pair_of(study).prompt.text, pair_of(study, 1).prompt.text}
    for turn in range(SPARE + 1):  # the spare ones, and the one that was only the worse picture of another
        pair = exchange_prompt(pair_of(study, turn % 2))
        assert pair.prompt.text not in seen
        seen.add(pair.prompt.text)
    before = list(CheckPair.objects.values())
    with pytest.raises(ExchangeError, match="no prompt is left"):
        exchange_prompt(pair_of(study))
    assert list(CheckPair.objects.values()) == before


def test_another_fault_keeps_the_prompt_and_the_better_picture() -> None:
    study = with_spare_prompts()
    before = pair_of(study, 1)
    assert other_faults(before) == ["damaged"]
    damaged = exchange_fault(before, "damaged")
    assert (damaged.fault, damaged.prompt, damaged.better) == ("damaged", before.prompt, before.better)
    assert (damaged.worse.kind, damaged.passed_over) == (Image.Kind.ALTERED, [])
    pictures = [decode_png(image_path(i.sha256).read_bytes()).astype(float) for i in (damaged.better, damaged.worse)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 30
    again = exchange_fault(pair_of(study, 1), "other_prompt")
    assert again.worse.prompt.text != again.prompt.text
    with pytest.raises(ExchangeError, match="cannot have the fault"):
        exchange_fault(pair_of(study, 1), "other_prompt")


def test_only_faults_that_a_criterion_tells_are_offered() -> None:
    study = with_spare_prompts(criteria=(PRESETS["appeal"],))
    CheckPair.objects.update(fault="damaged")  # as the preparation makes them for a criterion without the text
    assert other_faults(pair_of(study)) == []
    with pytest.raises(ExchangeError, match="no criterion tells it"):
        exchange_fault(pair_of(study), "other_prompt")


def test_nothing_is_exchanged_once_the_study_is_open() -> None:
    study = with_spare_prompts()
    read_before = pair_of(study)
    open_study(study)
    before = list(CheckPair.objects.values())
    for pair in (read_before, pair_of(study)):  # one that was read while the study was ready, too
        for exchange in (exchange_prompt, lambda p: exchange_fault(p, "damaged")):
            with pytest.raises(ExchangeError, match="before a study is opened"):
                exchange(pair)
    assert list(CheckPair.objects.values()) == before
    assert not AuditEvent.objects.filter(action="check pair exchanged").exists()


def test_an_opening_at_the_same_moment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    study = with_spare_prompts()
    made = check_exchange.check_pairs.worse_image

    def slow(*arguments: Any) -> Image:
        open_study(Study.objects.get(pk=study.pk))
        return made(*arguments)

    monkeypatch.setattr(check_exchange.check_pairs, "worse_image", slow)
    pair = pair_of(study)
    with pytest.raises(ExchangeError, match="before a study is opened"):
        exchange_prompt(pair)
    assert pair_of(study).prompt == pair.prompt
    trials = Trial.objects.filter(check_pair=pair, kind="practice")
    assert all(pair.better in (trial.left_image, trial.right_image) for trial in trials)


def test_a_pair_that_was_exchanged_meanwhile_is_not_exchanged_again() -> None:
    study = with_spare_prompts()
    stale = pair_of(study)
    fresh = exchange_prompt(pair_of(study))
    with pytest.raises(StaleExchangeError, match="check pair 1 was exchanged meanwhile"):
        exchange_prompt(stale)
    assert pair_of(study).prompt == fresh.prompt
    assert Prompt.objects.filter(pk__in=pair_of(study).passed_over).count() == 1


@pytest.mark.django_db(transaction=True)
def test_files_are_written_outside_of_the_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    study = with_spare_prompts()
    stored: list[bool] = []
    store = check_exchange.check_pairs.store_picture

    def note(png: bytes) -> str:
        stored.append(connection.in_atomic_block)
        return store(png)

    monkeypatch.setattr(check_exchange.check_pairs, "store_picture", note)
    exchange_fault(pair_of(study), "damaged")
    assert stored == [False]
