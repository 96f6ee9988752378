"""Export the prompts of a study's final subset with the seeds of their pictures."""

from __future__ import annotations

from collections.abc import Iterator

from evenhand.studies.chosen_prompts import prompts_of, seed_of
from evenhand.studies.drafts import configuration_of
from evenhand.studies.models import Study
from evenhand.studies.results.export.cells import number, words
from evenhand.studies.results.export.columns import Column
from evenhand.studies.results.export.summaries import head

PROMPT_COLUMNS = (
    Column("index", "integer", "Number of the prompt in its set.", "0 and above"),
    Column("prompt", "text", "The prompt.", "any text"),
    Column("seed", "integer", "Seed of the prompt's pictures.", "0 and above"),
    Column("stratum", "text", "Stratum of the final subset.", "high, middle, low, or p and the percentile"),
    Column("clip_score", "number", "CLIP score of the baseline's picture, raw cosine.", "-1 to 1"),
    Column("source_id", "text", "Id that the prompt's file gave it.", "any text"),
)


def prompt_lines(study: Study) -> Iterator[str]:
    """Yield a row a prompt of the final subset; none before it is chosen, and for ready-made pairs."""
    yield head(PROMPT_COLUMNS)
    if study.subset is None:
        return
    configuration = configuration_of(study)
    members = study.subset.members.exclude(stratum="")
    marks = {
        prompt: (stratum, score) for prompt, stratum, score in members.values_list("prompt", "stratum", "clip_score")
    }
    for prompt in prompts_of(study, "final").iterator(2000):
        stratum, score = marks[prompt.pk]
        cells = (
            number(prompt.index), words(prompt.text), number(seed_of(prompt, configuration)), words(stratum),
            number(score), words(prompt.source_id),
        )  # fmt: skip
        yield ",".join(cells) + "\n"
