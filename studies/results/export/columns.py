"""Define the columns of the exports: what the files write and the codebook explains."""

from __future__ import annotations

from dataclasses import dataclass

from evenhand.studies.models import Trial
from evenhand.studies.results import flags

LABELS = {
    -2: "baseline_much_better",
    -1: "baseline_slightly_better",
    0: "no_preference",
    1: "candidate_slightly_better",
    2: "candidate_much_better",
}
WITHDRAWN = "withdrawn"
UNUSABLE = "unusable pair"  # before the reason


@dataclass(frozen=True)
class Column:
    """A column and its meaning."""

    name: str
    kind: str  # type and unit
    description: str
    values: str


UNTOLD = "empty where the page did not tell"
COLUMNS = (
    Column("study", "text", "Name of the study.", "any text"),
    Column("version_hash", "text", "SHA-256 of the configuration under which the rating was given.",
           "64 hex digits"),
    Column("comparison", "integer", "Number of the comparison within the study.",
           "1, 2, …; empty for a trial without a pair"),
    Column("baseline_arm", "text", "Guidance of the arm compared against, as a rule the baseline.",
           "any text; empty for a trial without a pair"),
    Column("candidate_arm", "text", "Guidance of the candidate.",
           "any text; empty for a trial without a pair"),
    Column("prompt_index", "integer", "Place of the prompt in the prompt set, from 0.", "0, 1, …"),
    Column("prompt", "text", "The prompt as the evaluator read it.", "any text"),
    Column("stratum", "text", "Stratum of the prompt by its CLIP score.",
           "high, middle, low, or p and a percentile; empty for a trial without a pair"),
    Column("clip_score", "number, cosine", "CLIP score of the prompt's baseline picture, which ranked the prompt.",
           "−1 … 1; empty where it was not scored"),
    Column("seed", "integer", "Seed of both pictures.", "0, 1, …; empty for a trial without a pair"),
    Column("pair", "integer", "Identifier of the pair: the same in every rating of the same two pictures.",
           "1, 2, …; empty for a trial without a pair"),
    Column("evaluator", "text", "Pseudonym of the evaluator, the same in every export. It opens nothing.",
           "e and a number"),
    Column("trial_kind", "text", "What the trial was for.", ", ".join(Trial.Kind.values)),
    Column("position", "integer", "Place of the trial in the evaluator's series.", "1, 2, …"),
    Column("candidate_side", "text", "Where the candidate's picture stood.",
           "left, right; empty for a trial without a candidate"),
    Column("repeat_of", "integer", "Position of the earlier trial that this one repeats.",
           "1, 2, …; empty for a trial that repeats none"),
    Column("choice", "integer", "What was pressed, towards the right picture.",
           "-2 left much better … 0 no preference … 2 right much better"),
    Column("preference", "integer", "The choice towards the candidate: its negative where the candidate stood left.",
           "-2 … 2; empty for a trial without a candidate"),
    Column("label", "text", "The preference in words.", ", ".join(LABELS.values())),
    Column("elapsed_ms", "integer, milliseconds", "Time from both pictures being visible to the answer, by the page.",
           "0, 1, …; empty where the page could not tell"),
    Column("shown_at", "time, UTC", "When the trial was first served.",
           "ISO 8601; empty where unknown"),
    Column("rated_at", "time, UTC", "When the answer arrived.", "ISO 8601"),
    Column("counted", "boolean", "Whether the answer came while its pair still wanted ratings.", "TRUE, FALSE"),
    Column("superseded", "boolean", "Whether the evaluator corrected it later.", "TRUE, FALSE"),
    Column("simulated", "boolean", "Whether a simulation gave it, not a person.", "TRUE, FALSE"),
    Column("excluded", "boolean",
           "Whether the rating, its evaluator or its pair is excluded, or the evaluator has withdrawn.", "TRUE, FALSE"),
    Column("exclusion_reason", "text", "Why it is excluded; several reasons are joined by semicolons.",
           f"the admin's words, those about a pair after “{UNUSABLE}: ”, or {WITHDRAWN}; empty where not excluded"),
    Column("baseline_image_sha256", "text", "SHA-256 of the baseline's picture file.",
           "64 hex digits; empty for a trial without a pair"),
    Column("candidate_image_sha256", "text", "SHA-256 of the candidate's picture file.",
           "64 hex digits; empty for a trial without a pair"),
    Column("criterion", "text", "Name of the criterion that was asked.", "as the study names it"),
    Column("both_bad", "boolean", "Whether “both are bad” was pressed; `choice` is then 0.", "TRUE, FALSE"),
    Column("reasons", "text", "The study's tags that were chosen after the answer, joined by semicolons.",
           "any text; empty where none was chosen or asked for"),
    Column("remark", "text", "What the evaluator wrote after the answer.",
           "any text; empty where nothing was written or asked for"),
    Column("hidden_ms", "integer, milliseconds",
           "How long the page was hidden while the pair was open; no part of `elapsed_ms`.",
           f"0, 1, …; {UNTOLD}"),
    Column("device_pixel_ratio", "number", "Device pixels a CSS pixel.", f"above 0; {UNTOLD}"),
    Column("viewport_width", "integer, CSS pixels", "Width of the window's content.", f"0, 1, …; {UNTOLD}"),
    Column("viewport_height", "integer, CSS pixels", "Height of the window's content.", f"0, 1, …; {UNTOLD}"),
    Column("picture_width", "number, CSS pixels", "Width at which each picture was displayed.",
           f"0 and above; {UNTOLD}"),
    Column("picture_height", "number, CSS pixels", "Height at which each picture was displayed.",
           f"0 and above; {UNTOLD}"),
    Column("picture_width_device", "integer, device pixels", "Width at which each picture was displayed.",
           f"0, 1, …; {UNTOLD}"),
    Column("picture_height_device", "integer, device pixels", "Height at which each picture was displayed.",
           f"0, 1, …; {UNTOLD}"),
    Column("zoomed", "boolean", "Whether the pictures were enlarged before the answer.", f"TRUE, FALSE; {UNTOLD}"),
    Column("flipped", "boolean", "Whether the pictures were seen in one place by turns before the answer.",
           f"TRUE, FALSE; {UNTOLD}"),
    Column("pointer", "text", "What the answer was pressed with.", f"mouse, touch, pen, key; {UNTOLD}"),
    Column("flags", "text", "What makes the answer worth a look, joined by semicolons; told below.",
           f"{', '.join((flags.NO_TIME, flags.FAST, flags.SMALL, flags.STRAIGHT_LINE))}; empty where there is none"),
    Column("evaluator_public_id", "text", "The evaluator's id in personal links, of which it is the first part. "
           "Alone it opens nothing.", "12 characters"),
    Column("fast", "boolean", "Whether the answer came too fast for two pictures to be seen, as the flag says.",
           "TRUE, FALSE"),
)  # fmt: skip
