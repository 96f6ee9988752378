"""Write the page that explains a bundle to somebody who has nothing else."""

from __future__ import annotations

from typing import Any

COMMON = """\
# {name}

A bundle of one human preference study, written by Evenhand. It holds what is needed to check the study's results, to
analyse its ratings anew, and to run it again with other people: {pairs} pairs of pictures, {trials} trials,
{ratings} ratings.

## Check it

    python verify_bundle.py .

needs Python 3.11 or later and nothing else, and ends with 0 where all is as it was written. `sha256sum -c SHA256SUMS`
checks the files alone. The *root* of the bundle is the SHA-256 of the file `SHA256SUMS`: compare it with the one that
the study's owner has published.

## What is what

| file | content |
|---|---|
| `bundle.json` | what this bundle is, its counts, and the root of the ratings' hash chains |
| `configuration/` | the study's settings, every version; the SHA-256 of a file is the version's hash |
| `provenance.json` | model with revision, recipe, arms, hashes of prompt set and subset, versions of libraries |
| `prompts.jsonl` | the prompts of the first subset: place in the prompt set, text, stratum, CLIP score |
| `images.jsonl` | every picture's record: prompt, arm, seed, and all that is needed to make it again |
| `pictures/` | the pictures as PNG, each once, named by its SHA-256 |
| `pairs.jsonl` | which two pictures are compared, how far they differ at most, and whether the pair is unusable |
| `check_pairs.jsonl` | pairs with a known better picture: for the example, for practice and for attention checks |
| `booklets.jsonl` | who was given which series of trials |
| `trials.jsonl` | what each trial shows, in which order, and which picture on which side |
| `evaluators.jsonl` | the evaluators under pseudonyms, and how far each came |
| `ratings.csv`, `codebook.md` | the ratings, one a row, and what the columns mean |
| `report.json`, `figures/` | the results as the application computed them |
| `texts/` | what evaluators read: consent, instructions, questions |
| `SHA256SUMS` | the checksum of every other file |
| `verify_bundle.py` | the check |
"""

OPEN = """\
| `chain.jsonl` | the hash chains of the ratings: for each the text that its hash covers |

A rating's `text` names its trial, the version of the configuration, the choice (−2 left is much better … +2 right is
much better), and the hash of the evaluator's rating before it. Its SHA-256 is the rating's hash. The root is the
SHA-256 over one line an evaluator, in the order of the file: public id, a space, the hash of the last rating, a line
feed. Ratings that were deleted on request have no text; their hashes stand, so that the chain can be followed.

## Who is in it

Nobody's name, panel id or link is in this bundle. It does hold what could help to find somebody who is looked for: the
times of answers, sizes of windows, the free text of remarks and of reasons for exclusions, the study's contact, and the
panel's completion code. Read these before you publish it, or publish the anonymous form.
"""

ANONYMOUS = """\

## What was left out

This is the anonymous form. Evaluators have random names that were drawn for this bundle alone; booklets are numbered
anew; times are whole seconds since the evaluator's consent, and answers' times are rounded to 0.1 s. Public ids, window
sizes, remarks and the reasons for exclusions and unusable pairs are left out, and so are the study's owner, contact,
approval number and the panel's codes, and all that `report.json` says of single people: the `codebook.md` describes
columns that are not all here.

**The hash chain of the ratings cannot be verified in this form**, because its hashes cover what was left out, and a
configuration's bytes are not those of its hash for the same reason. `bundle.json` carries the root of the chains
(`ratings_root`) and the hashes of the configurations, for comparison with the full bundle. The texts in `texts/` and in
the configuration stand as the study's owner wrote them: read them before you publish this.
"""


def readme(description: dict[str, Any]) -> str:
    """Return the text of ``README.md`` for a bundle described by ``bundle.json``."""
    counts = description["counts"]
    head = COMMON.format(
        name=" ".join(description["study"]["name"].split()),
        **{name: f"{counts[name]:,}" for name in ("pairs", "trials", "ratings")},
    )
    return head + (ANONYMOUS if description["anonymous"] else OPEN)
