"""Write a prepared study of very many prompts by the database's own means, as its stages would have written it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenhand.studies.models import Study

IMAGES = """
INSERT INTO studies_image (prompt_id, arm_id, recipe_id, seed, kind, state, sha256, width, height, provenance,
    created_at)
SELECT id, %(arm)s, %(recipe)s, index, 'generated', 'done', md5(id::text || %(arm)s::text) || md5(id::text), 64, 64,
    %(provenance)s::jsonb, now()
FROM studies_prompt WHERE prompt_set_id = %(prompts)s ORDER BY index
"""
SCORES = """
INSERT INTO studies_imagescore (image_id, metric, value)
SELECT i.id, %(metric)s, 0.3 * random() FROM studies_image i JOIN studies_prompt p ON p.id = i.prompt_id
WHERE p.prompt_set_id = %(prompts)s
"""
MEMBERS = """
INSERT INTO studies_subsetprompt (subset_id, prompt_id, clip_score, stratum)
SELECT %(subset)s, id, 0.3 - index * 1e-6, CASE index / %(per_stratum)s
    WHEN 0 THEN 'high' WHEN 1 THEN 'middle' WHEN 2 THEN 'low' ELSE '' END
FROM studies_prompt WHERE prompt_set_id = %(prompts)s
"""
PAIRS = """
INSERT INTO studies_pair (comparison_id, prompt_id, stratum, baseline_image_id, candidate_image_id, largest_difference)
SELECT %(comparison)s, m.prompt_id, m.stratum, b.id, c.id, 3 + (200 * random())::int
FROM studies_subsetprompt m
JOIN studies_image b ON b.prompt_id = m.prompt_id AND b.arm_id = %(baseline)s
JOIN studies_image c ON c.prompt_id = m.prompt_id AND c.arm_id = %(candidate)s
WHERE m.subset_id = %(subset)s AND m.stratum <> '' ORDER BY m.prompt_id
"""
BATCHES = """
INSERT INTO studies_batch (queue, state, done, total, attempts, vanishings, errors, outages, error, stage_id, number,
    items)
SELECT 'gpu', 'done', %(size)s, %(size)s, 1, 0, 0, 0, '', %(stage)s, n, '[1, 2, 3, 4, 5, 6, 7, 8]'
FROM generate_series(0, %(count)s - 1) n
"""
SIZES = {"baseline": 8, "arms": 8, "score": 64, "measure": 64, "differences": 100}  # units a batch of each stage


def write_rows(study: Study) -> None:
    """Make a draft ready: recipe, subset, arms, images, scores, pairs, stages with their batches; PostgreSQL only."""
    from django.db import connection
    from django.utils import timezone

    from evenhand.generation.guidance import fingerprint
    from evenhand.studies.configuration import arm_label
    from evenhand.studies.drafts import configuration_of
    from evenhand.studies.models import Arm, Comparison, PromptSubset, Recipe, Stage
    from evenhand.studies.pipeline.stages import STAGES

    configuration, count = configuration_of(study), study.prompt_set.count
    study.recipe, _ = Recipe.objects.get_or_create(
        checkpoint="demo",
        revision="0" * 64,
        scheduler="ddim",
        steps=20,
        height=64,
        width=64,
        dtype="float32",
        batch_size=8,
    )
    study.subset = PromptSubset.objects.create(
        prompt_set=study.prompt_set, encoder="demo", size=count, seed=0,
        percentiles=list(configuration.percentiles), per_stratum=configuration.per_stratum,
    )  # fmt: skip
    arms = [
        Arm.objects.get_or_create(
            fingerprint=fingerprint(each), defaults={"label": arm_label(each), "guidance": each.to_dict()}
        )[0]
        for each in configuration.arms
    ]
    values: dict[str, Any] = {
        "prompts": study.prompt_set_id, "recipe": study.recipe.pk, "subset": study.subset.pk,
        "per_stratum": configuration.per_stratum, "metric": f"clip:{configuration.encoder_name}",
        "provenance": json.dumps({f"a setting of the run, {number}": "a value of it" for number in range(40)}),
    }  # fmt: skip
    with connection.cursor() as cursor:
        for arm in arms:
            cursor.execute(IMAGES, values | {"arm": arm.pk})
        cursor.execute(SCORES, values)
        cursor.execute(MEMBERS, values)
        for position, (one, other) in enumerate(configuration.compared):
            comparison = Comparison.objects.create(
                study=study, position=position, baseline=arms[one], candidate=arms[other]
            )
            sides: dict[str, Any] = {"comparison": comparison.pk, "baseline": arms[one].pk, "candidate": arms[other].pk}
            cursor.execute(PAIRS, values | sides)
        now = timezone.now()
        for position, each in enumerate(STAGES):
            size = SIZES.get(each.name, count)
            stage = Stage.objects.create(
                study=study, name=each.name, position=position, state=Stage.State.DONE, total=count, done=count,
                started_at=now, finished_at=now,
            )  # fmt: skip
            cursor.execute(BATCHES, {"stage": stage.pk, "size": size, "count": count // size})
        cursor.execute("ANALYZE")
    study.state = study.State.READY
    study.save()
