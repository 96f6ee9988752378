"""Fill a study with as many ratings as a benchmark of the results needs, by the database's own means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evenhand.studies.models import Study

TRIALS, PER_STRATUM = 100, 100  # of an evaluator; prompts: 300 in two comparisons
VIEWPORT = (
    '{"zoomed": false, "flipped": false, "pointer": "mouse", "hidden_ms": 0, "viewport_width": 1440,'
    ' "viewport_height": 900, "device_pixel_ratio": 2, "picture_width": 512, "picture_height": 512,'
    ' "picture_width_device": 1024, "picture_height_device": 1024}'
)

EVALUATORS = """
INSERT INTO studies_evaluator (study_id, version_id, public_id, nonce, external_ids, later_ids, external_hmac, note,
    simulated, pilot, language, consented_at, consent_text_sha256, age_confirmed, comprehension_tries,
    comprehension_wrong, breaks_taken, finished_at, created_at)
SELECT %(study)s, %(version)s, 'b' || %(study)s || '-' || n, md5(n::text), '{}', '[]', '', '', false, false, 'en',
    now(), '', false, 0, '[]', 0, now(), now()
FROM generate_series(1, %(people)s) n
"""
BOOKLETS = """
INSERT INTO studies_booklet (study_id, block, number, simulated, pilot, evaluator_id, remainder)
SELECT study_id, 1, 1000000 + row_number() OVER (ORDER BY id), false, false, id, false
FROM studies_evaluator WHERE study_id = %(study)s
"""
# The k-th trial shows the k-th prompt after one of the evaluator's own, so that nobody sees a prompt twice.
TRIALS_SQL = """
INSERT INTO studies_trial (public_id, booklet_id, position, kind, criterion, pair_id, left_image_id, right_image_id,
    candidate_on_left, slot, released, shown_at)
SELECT gen_random_uuid(), b.id, k, 'main', 0, p.id, p.baseline_image_id, p.candidate_image_id, (b.id + k) %% 8 < 4,
    gen_random_uuid(), false, now()
FROM studies_booklet b CROSS JOIN generate_series(1, %(trials)s) k
JOIN (SELECT pair.*, comparison.position, row_number() OVER (PARTITION BY comparison.id ORDER BY pair.id) - 1 AS place
      FROM studies_pair pair JOIN studies_comparison comparison ON comparison.id = pair.comparison_id
      WHERE comparison.study_id = %(study)s) p
  ON p.place = (b.id * 17 + k) %% %(prompts)s AND p.position = (b.id + k) / 2 %% 2
WHERE b.study_id = %(study)s AND b.evaluator_id IS NOT NULL
"""
# An opinion is a lead, a part of the evaluator's own, one of the pair's own and one of the moment, cut at four places.
RATINGS = """
INSERT INTO studies_rating (trial_id, evaluator_id, version_id, choice, both_bad, reasons, remark, key, superseded,
    counted, slot, elapsed_ms, viewport, rated_at, sequence, previous_sha256, sha256)
SELECT t.id, b.evaluator_id, %(version)s,
    CASE WHEN t.candidate_on_left THEN -1 ELSE 1 END * width_bucket(
        0.5 + 0.6 * sin(b.evaluator_id * 12.9898) + 0.6 * sin(t.pair_id * 78.233) + 4 * (random() + random() - 1),
        ARRAY[-2.0, -0.5, 0.5, 2.0]::float8[]) + CASE WHEN t.candidate_on_left THEN 2 ELSE -2 END,
    false, '[]', '', gen_random_uuid(), false, true, t.slot, 250 + (20000 * random() * random())::int,
    %(viewport)s, now(), t.position, '', md5(t.id::text) || md5(b.id::text)
FROM studies_trial t JOIN studies_booklet b ON b.id = t.booklet_id
WHERE b.study_id = %(study)s AND b.evaluator_id IS NOT NULL
"""


def filled_study(ratings: int) -> Study:
    """Make a study with that many ratings, a hundred by each evaluator; flat pictures, PostgreSQL only."""
    from evenhand.studies.lifecycle import open_study
    from tests.helpers.factories import make_ready_study

    study = make_ready_study(name=f"{ratings} ratings", per_stratum=PER_STRATUM, trials_per_evaluator=30, quota=1)
    open_study(study)
    fill(study, people=ratings // TRIALS, trials=TRIALS, per_stratum=PER_STRATUM)
    return study


def fill(study: Study, *, people: int, trials: int, per_stratum: int) -> None:
    """Let people answer trials of an open study with two comparisons of three strata; PostgreSQL only."""
    from django.db import connection

    values = {
        "study": study.pk, "version": study.current_version_id, "people": people, "trials": trials,
        "prompts": 3 * per_stratum, "viewport": VIEWPORT,
    }  # fmt: skip
    with connection.cursor() as cursor:
        for statement in (EVALUATORS, BOOKLETS, TRIALS_SQL, RATINGS):
            cursor.execute(statement, values)
        cursor.execute("ANALYZE")
