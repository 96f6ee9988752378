"""Features, pools and curves as the stages and tried settings use them: encoded once, drawn as configured."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from django.utils import timezone

from evenhand.metrics.frechet import FrechetReference
from evenhand.sampling.draws import SubsetError
from evenhand.sampling.subset import FrechetCurve, draw_subset
from evenhand.studies.models import Batch, PromptSet, SamplingRun, Study, SubsetPrompt
from evenhand.studies.pipeline import prompt_pool, sampling_runs, stages
from evenhand.studies.pipeline.context import Context
from evenhand.studies.pipeline.tasks import HANDLERS
from evenhand.studies.prompt_import import import_texts
from evenhand.studies.work import notify, queue
from evenhand.studies.work.queue import Claim, work_through
from tests.helpers.factories import make_draft, make_prompt_set, small_configuration

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def own_cache(settings: object, tmp_path: Path) -> None:
    settings.FEATURE_CACHE = tmp_path / "features"  # type: ignore[attr-defined]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every prompt that the real encoder is given."""
    from evenhand.sampling import encode

    given: list[str] = []
    real = encode.encode_prompts

    def counting(texts: list[str], *args: object, **kwargs: object) -> object:
        given.extend(texts)
        return real(texts, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(encode, "encode_prompts", counting)
    return given


def repeated() -> PromptSet:
    """Sixty captions, ten of them twice."""
    texts = list(make_prompt_set().prompts.order_by("index").values_list("text", flat=True))
    return import_texts(texts + texts[:10], name="Repeated", source="a list")


def only_prompts(study: Study) -> None:
    """Run the stages that choose prompts, and none that makes pictures."""
    stages.prepare(study)
    while study.stages.get(name="subset").state != "done":
        batch = queue.claim(Batch, "gpu") or queue.claim(Batch, "cpu")
        assert batch is not None
        assert queue.run(batch, stages.HANDLER), study.stages.filter(state="failed").values("error")
        stages.advance(study)
    study.refresh_from_db()


def test_a_prompt_set_is_encoded_once_for_all_studies(encoded: list[str]) -> None:
    prompt_set, configuration = make_prompt_set(), small_configuration()
    first = prompt_pool.features_of(prompt_set, configuration)
    again = prompt_pool.features_of(prompt_set, small_configuration(subset_size=40, seed=3))
    assert np.array_equal(first, again)
    assert encoded == list(prompt_set.prompts.order_by("index").values_list("text", flat=True))


def test_pools_leave_out_what_repeats() -> None:
    prompt_set = repeated()
    assert len(prompt_pool.pool_of(prompt_set, small_configuration()).indices) == 70
    exact = prompt_pool.pool_of(prompt_set, small_configuration(deduplicate="exact"))
    assert (exact.indices.tolist(), exact.removed) == (list(range(60)), 10)
    near = prompt_pool.pool_of(prompt_set, small_configuration(deduplicate="near", near_duplicate_cosine=0.999))
    assert near.removed >= 10
    assert near.indices.max() < 60
    with pytest.raises(SubsetError, match="65 prompts are asked for; without 10 repeated ones there are 60"):
        exact.check(65)


@pytest.mark.parametrize("draw", ["random", "representative"])
def test_a_study_draws_as_configured_and_says_so(draw: str) -> None:
    study = make_draft(draw=draw)
    only_prompts(study)
    subset = study.subset
    assert subset is not None
    assert (subset.draw, subset.deduplicate, subset.removed) == (draw, "none", 0)
    reference = FrechetReference(prompt_pool.features_of(study.prompt_set, small_configuration()))
    expected = draw_subset(draw, reference, 24, 0)
    assert list(subset.members.order_by("prompt__index").values_list("prompt__index", flat=True)) == expected.tolist()
    assert subset.distance == pytest.approx(reference.distance(expected), rel=1e-6)
    assert subset.frechet_curve is not None
    curve = FrechetCurve.from_dict(subset.frechet_curve)
    assert bool(curve.representative) == (draw == "representative")
    assert np.shape(curve.gaussian) == (3, prompt_pool.GAUSSIAN_DRAWS)


def test_members_that_stand_there_are_not_drawn_again() -> None:
    """What was drawn is the study's, though another machine's rounding might draw otherwise."""
    study = make_draft(draw="representative")
    only_prompts(study)
    members = SubsetPrompt.objects.filter(subset=study.subset)
    member = members.order_by("prompt__index").first()
    assert member is not None
    outside = study.prompt_set.prompts.exclude(pk__in=members.values_list("prompt", flat=True)).first()
    members.filter(pk=member.pk).update(prompt=outside)
    before = set(members.values_list("prompt", flat=True))
    stage = study.stages.get(name="subset")
    batch = stage.batches.get()
    stages.DEFINITIONS["subset"].run(Context(study, small_configuration(), Claim(batch)))
    assert set(SubsetPrompt.objects.filter(subset=study.subset).values_list("prompt", flat=True)) == before


def test_what_was_left_out_is_counted_in_the_record() -> None:
    study = make_draft(deduplicate="near", near_duplicate_cosine=0.9999, subset_size=24)
    Study.objects.filter(pk=study.pk).update(prompt_set=repeated())
    study.refresh_from_db()
    only_prompts(study)
    subset = study.subset
    assert subset is not None
    assert subset.removed >= 10
    assert (subset.deduplicate, subset.near_duplicate_cosine) == ("near", 0.9999)
    assert max(subset.members.values_list("prompt__index", flat=True)) < 60


# ------------------------------------------------------------------------------ tried settings


def test_tried_settings_are_computed_with_both_draws() -> None:
    run = sampling_runs.start(repeated(), small_configuration(deduplicate="exact"))
    assert work_through(HANDLERS) == 1
    run.refresh_from_db()
    assert (run.state, run.removed, run.error) == ("done", 10, "")
    assert run.frechet_curve is not None
    curve = FrechetCurve.from_dict(run.frechet_curve)
    assert curve.sizes == (8, 24, 48)
    assert (np.array(curve.representative).mean(1) < np.array(curve.distances).mean(1)).all()
    assert work_through(HANDLERS) == 0


def test_the_second_try_encodes_nothing(encoded: list[str]) -> None:
    prompt_set = make_prompt_set()
    for seed in (1, 2):
        sampling_runs.start(prompt_set, small_configuration(seed=seed))
    assert work_through(HANDLERS) == 2
    assert len(encoded) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "no-such-model"}, "neither a folder nor an open_clip model named 'no-such-model'"),
        ({"deduplicate": "exact", "subset_size": 65}, "65 prompts are asked for; without 10 repeated ones"),
    ],
)
def test_settings_that_cannot_be_computed_say_why(change: dict[str, object], message: str) -> None:
    run = sampling_runs.start(repeated(), small_configuration(**change))
    assert work_through(HANDLERS) == 0
    run.refresh_from_db()
    assert run.state == "failed"
    assert message in run.error


def test_a_run_whose_worker_died_is_taken_by_another_and_the_first_writes_nothing() -> None:
    sampling_runs.start(make_prompt_set(), small_configuration())
    lost = queue.claim(SamplingRun, "gpu")
    assert lost is not None
    assert queue.claim(SamplingRun, "gpu") is None
    SamplingRun.objects.filter(pk=lost.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    second = queue.claim(SamplingRun, "gpu")
    assert second is not None
    assert not queue.run(lost, sampling_runs.HANDLER)
    assert SamplingRun.objects.get(pk=second.pk).state == "leased"
    assert queue.run(second, sampling_runs.HANDLER)


def test_a_run_that_kills_its_workers_is_given_up() -> None:
    run = sampling_runs.start(make_prompt_set(), small_configuration())
    row = SamplingRun.objects.filter(pk=run.pk)
    vanishings = 0
    while vanishings < queue.MAX_VANISHINGS:
        row.update(not_before=None)  # the pause after the last one is over
        if queue.claim(SamplingRun, "gpu") is not None:  # else it was put back, to wait longer
            row.update(lease_until=timezone.now() - timedelta(seconds=1))
            vanishings += 1
    assert queue.claim(SamplingRun, "gpu") is None
    run.refresh_from_db()
    assert (run.state, run.error) == ("failed", "its worker disappeared 10 times in the middle of it")


def test_workers_are_told_of_waiting_runs() -> None:
    assert notify.notify_where_work_waits() == []
    sampling_runs.start(make_prompt_set(), small_configuration())
    assert notify.notify_where_work_waits() == ["gpu"]
