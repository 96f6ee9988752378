"""A worker tries a draft's recipe: it reads what the draft names, times it, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command

from evenhand.errors import InputError
from evenhand.generation.guidance import ClassifierFree, OtherCheckpoint
from evenhand.studies.arm_recipes import part_of
from evenhand.studies.drafts import change_draft, configuration_of
from evenhand.studies.models import Image, Prompt, RecipeCheck, Study
from evenhand.studies.pipeline import model_cache, reading, recipe_checks
from evenhand.studies.pipeline.recipe_checks import Enough, Findings, Watch, ask, latest, subject_of
from evenhand.studies.work import queue
from tests.helpers.factories import make_draft, small_configuration

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return make_draft()


def changed(study: Study, **changes: object) -> None:
    change_draft(study=study, actor=study.owner, configuration=small_configuration(**changes))
    study.refresh_from_db()


def work() -> int:
    return queue.work_through({RecipeCheck: recipe_checks.HANDLER}, recipe_checks.QUEUE)


def test_a_worker_reads_the_checkpoint_and_times_it(study: Study) -> None:
    check = ask(study)
    assert work() == 1
    check.refresh_from_db()
    findings = Findings.of(check)
    (part,) = findings.parts
    assert part.revision == model_cache.checkpoint_revision("demo")
    assert (part.height, part.width) == (64, 64)
    assert part.evaluation > 0
    assert part.picture is not None
    assert part.picture > 0
    assert findings.prompt > 0
    assert (check.done, check.total, check.finished_at is None) == (2, 2, False)
    assert not Image.objects.exists()


def test_each_checkpoint_of_the_arms_is_tried(study: Study) -> None:
    changed(study, candidates=(ClassifierFree(7.5), OtherCheckpoint(ClassifierFree(7.5), "demo", steps=3)))
    ask(study)
    assert work() == 1
    check = RecipeCheck.objects.get()
    assert [part.checkpoint for part in Findings.of(check).parts] == ["demo", "demo"]
    assert check.total == 3


def test_a_checkpoint_that_is_not_there_is_named(study: Study, tmp_path: Path) -> None:
    changed(study, checkpoint=str(tmp_path / "nowhere"))
    ask(study)
    assert work() == 0
    check = RecipeCheck.objects.get()
    assert check.state == RecipeCheck.State.FAILED
    assert "nowhere" in check.error
    assert check.finished_at


def test_a_prompt_that_the_checkpoint_would_cut_is_named_before_freezing(study: Study) -> None:
    Prompt.objects.filter(prompt_set=study.prompt_set, index=5).update(text="red square " * 80)
    ask(study)
    work()
    assert "red square" in RecipeCheck.objects.get().error


def test_steps_that_the_scheduler_does_not_take_are_named_before_any_prompt_is_read(study: Study) -> None:
    configuration = small_configuration(scheduler="ddim", steps=501)
    part = part_of(configuration, configuration.baseline)
    with pytest.raises(InputError, match="demo: steps must be at most 500 with ddim"):
        reading.load_for(part, (64, 64), study.prompt_set, configuration)


def test_a_second_press_asks_nothing_new_and_a_changed_recipe_does(study: Study) -> None:
    first = ask(study)
    assert ask(study, again=True) == first  # it still waits
    work()
    assert ask(study) == first
    changed(study, quota=9)  # which no worker reads
    assert latest(study, configuration_of(study)) == first
    changed(study, steps=3)
    assert latest(study, configuration_of(study)) is None
    second = ask(study)
    assert second != first
    assert RecipeCheck.objects.get() == second


def test_a_check_that_ended_is_made_again_where_somebody_asks(study: Study) -> None:
    first = ask(study)
    work()
    second = ask(study, again=True)
    assert second.pk != first.pk
    assert second.state == RecipeCheck.State.WAITING


def test_a_check_whose_draft_changed_meanwhile_stores_nothing(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(study)
    read = recipe_checks.reading.size_of

    def change_while_reading(*arguments: object) -> tuple[int, int]:
        changed(study, steps=3)
        ask(study)
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recipe_checks.reading, "size_of", change_while_reading)
    item = queue.claim(RecipeCheck, recipe_checks.QUEUE)
    assert item is not None
    assert not queue.run(item, recipe_checks.HANDLER)
    assert RecipeCheck.objects.get().state == RecipeCheck.State.WAITING


@pytest.mark.parametrize("change", ["prompt_set", "encoder", "baseline", "batch_size"])
def test_the_subject_names_all_that_a_worker_reads(study: Study, change: str) -> None:
    configuration = configuration_of(study)
    before = subject_of(study, configuration)
    if change == "prompt_set":
        study.prompt_set.sha256 = "f" * 64
        assert subject_of(study, configuration) != before
    else:
        other = {"encoder": "ViT-B-32", "baseline": ClassifierFree(3.0), "batch_size": 3}[change]
        assert subject_of(study, small_configuration(**{change: other})) != before


def test_an_uploaded_study_has_no_recipe(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(configuration_of(study)), "ready_made", True)
    with pytest.raises(InputError, match="draws no pictures"):
        ask(study)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(recipe_checks, "monotonic", lambda: now[0])
    return now


def test_the_first_call_is_left_out_of_the_time_and_a_minute_is_the_end(clock: list[float]) -> None:
    watch = Watch()
    clock[0] += 50  # loading, compiling
    watch.progress(8, 800)
    clock[0] += 4
    watch.progress(24, 800)
    assert watch.evaluation == pytest.approx(4 / 16)
    clock[0] += 8
    with pytest.raises(Enough):
        watch.progress(32, 800)
    assert watch.evaluation == pytest.approx(12 / 24)
    assert watch.ended is None


def test_the_command_asks_a_worker(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("study", "try", study.name)
    assert "asked to try the recipe" in capsys.readouterr().out
    assert work() == 1
