"""Measure the database under the claims, reports and records of many workers that only wait where a GPU would draw.

A part of ``benchmarks.scale``. Each worker is a process that claims batches by the queue's own code, sleeps for as long
as a GPU needs for one, reports its progress meanwhile, and writes the batch's records. It has no model, broker or file,
and does not ask which pictures are there already.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from evenhand.studies.models import Batch, Study
    from evenhand.studies.work.queue import Claim

COUNTS = (1, 8, 64)  # of workers
BATCHES_EACH = 58  # 3,750 batches of COCO-30K by 64 workers
SECONDS_A_BATCH = 1.42  # two candidates of eight prompts by a compiled H100: docs/scaling.md
LOOKS = 20  # at the progress, during a batch: its iterations
PERCENTILE = 95
LONGEST = 600  # seconds, after which a worker has died


def measure_claims(_: argparse.Namespace) -> dict[str, Any]:
    """Let 1, 8 and 64 workers take as many batches each; return the rates and what the database added to a batch."""
    return {str(count): measure_count(count) for count in COUNTS}


def measure_count(count: int) -> dict[str, Any]:
    """Measure one number of workers with a study of its own."""
    from benchmarks.scale import BATCH_SIZE, draft, prompt_set
    from benchmarks.scale_rows import write_rows
    from evenhand.studies.models import Batch, Image, Pair, Stage, Study

    batches = count * BATCHES_EACH
    prompts = prompt_set(None, batches * BATCH_SIZE, f"Claims by {count}")
    study = draft(prompts, f"claims by {count}", seed=count)
    write_rows(study)
    Pair.objects.filter(comparison__study=study).delete()
    Image.objects.filter(prompt__prompt_set=prompts, arm__in=candidates(study)).delete()
    pks = list(prompts.prompts.order_by("index").values_list("pk", flat=True))
    stage = Stage.objects.get(study=study, name="arms")
    Batch.objects.filter(stage=stage).delete()
    Batch.objects.bulk_create(
        Batch(stage=stage, number=i, items=pks[i * BATCH_SIZE :][:BATCH_SIZE], total=BATCH_SIZE, queue="gpu")
        for i in range(batches)
    )
    Stage.objects.filter(pk=stage.pk).update(state=Stage.State.RUNNING, done=0)
    Study.objects.filter(pk=study.pk).update(state=Study.State.PREPARING)
    seconds, queries, took = run_all(count)
    stage.refresh_from_db()
    assert (stage.state, stage.done) == (Stage.State.DONE, stage.total), f"{stage.done} of {stage.total}"
    made = Image.objects.filter(prompt__prompt_set=prompts, arm__in=candidates(study))
    assert made.count() == 2 * len(pks)
    added = np.array(took) - SECONDS_A_BATCH
    return {
        "batches": batches,
        "seconds": round(seconds, 1),
        "batches_per_second": round(batches / seconds, 2),
        "share_of_the_rate_without_a_database": round(batches / seconds / (count / SECONDS_A_BATCH), 3),
        "added_seconds_a_batch": {
            "median": round(float(np.median(added)), 3),
            f"percentile_{PERCENTILE}": round(float(np.percentile(added, PERCENTILE)), 3),
            "largest": round(float(added.max()), 3),
        },
        "queries_per_second": round(queries / seconds),
    }


def candidates(study: Study) -> list[int]:
    """Return the arms whose pictures the stage makes."""
    return list(study.comparisons.order_by("position").values_list("candidate", flat=True))


def run_all(count: int) -> tuple[float, int, list[float]]:
    """Run that many workers until nothing is left; return the seconds, all queries, and the seconds of each batch."""
    from django.db import connections

    connections.close_all()  # none is shared with a process that is forked
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(count + 1), context.Queue()
    processes = [context.Process(target=work, args=(barrier, told)) for _ in range(count)]
    for process in processes:
        process.start()
    barrier.wait(LONGEST)
    start = time.perf_counter()
    answers = [told.get(timeout=LONGEST) for _ in processes]
    seconds = time.perf_counter() - start
    for process in processes:
        process.join()
    return seconds, sum(queries for queries, _ in answers), [each for _, batches in answers for each in batches]


def work(barrier: Barrier, told: Any) -> None:
    """Claim and run batches until none is left; tell how many queries it took, and the seconds of each batch."""
    from django.db import connection

    from evenhand.studies.models import Batch
    from evenhand.studies.pipeline import stages
    from evenhand.studies.work.queue import Handler, work_through

    ends: list[float] = []
    queries = [0]

    def counted(execute: Any, *arguments: Any) -> Any:
        queries[0] += 1
        return execute(*arguments)

    def after(batch: Batch) -> None:
        stages.HANDLER.after(batch)
        ends.append(time.perf_counter())

    logging.getLogger("evenhand").setLevel(logging.WARNING)
    connection.ensure_connection()
    barrier.wait(LONGEST)
    began = time.perf_counter()
    with connection.execute_wrapper(counted):
        work_through({Batch: Handler(wait_as_a_gpu, after=after)}, "gpu")
    told.put((queries[0], np.diff([began, *ends]).tolist()))


def wait_as_a_gpu(claim: Claim[Batch]) -> None:
    """Sleep for as long as a GPU draws, with its reports, and write the records of a batch's pictures."""
    from evenhand.studies.arms import arms_of
    from evenhand.studies.drafts import configuration_of
    from evenhand.studies.models import Prompt
    from evenhand.studies.pipeline.context import Context
    from evenhand.studies.pipeline.pictures import image_record, record_images
    from evenhand.studies.pipeline.stages import stage_of

    study = stage_of(claim.item).study
    recipe, arms = study.recipe, arms_of(study)[1:]
    assert recipe is not None
    prompts = list(Prompt.objects.filter(pk__in=claim.item.items).order_by("index"))
    for look in range(LOOKS):
        time.sleep(SECONDS_A_BATCH / LOOKS)
        claim.progress(look + 1, LOOKS)
    context = Context(study, configuration_of(study), claim)
    context.count_evaluations(1)
    versions = {f"package {number}": "1.2.3" for number in range(10)}
    run = {"size": {"height": 64, "width": 64}, "versions": versions}
    record_images(
        context,
        [
            image_record(recipe, arm, prompt, prompt.index, f"{prompt.pk:032x}{arm.pk:032x}", run)
            for arm in arms
            for prompt in prompts
        ],
    )
