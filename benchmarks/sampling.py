"""The prompt side, measured: import, encoding by cut batches, one subset's Fréchet distance.

    python -m benchmarks.sampling [--json FILE] [--captions FILE]

Each part is timed beside the plain way of doing the same in the same run, so that the ratio holds on a busy machine.
Nothing is downloaded: the CLIP text tower has random weights, which cost what trained ones cost. About three minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg

ROWS = 30_000
ENCODED, ENCODED_FULL = 2000, 300
DIMENSION, SUBSETS = 1024, (150, 5000)

THINGS = ["man", "woman", "dog", "cat", "bus", "table", "plate", "bench", "street", "kitchen", "pizza", "train"]
WORDS = [*THINGS, "a", "the", "on", "in", "with", "next", "to", "of", "and", "sitting", "riding", "white", "large"]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` returns, and its seconds."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def write_captions(path: Path, rows: int = ROWS, seed: int = 0) -> None:
    """A table shaped like COCO-30K: about 11 words a caption, some untrimmed, some broken in quotes, some repeated."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, n)) for n in np.clip(rng.normal(10.5, 2.5, rows).round(), 6, 45).astype(int)]
    for i in rng.choice(rows, rows // 60, replace=False):
        texts[i] = texts[int(rng.integers(rows))]
    for i in rng.choice(rows, rows // 10, replace=False):
        texts[i] += " \n" if i % 20 == 0 else "  "
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image_id", "prompt", "evaluation_seed"])
        writer.writerows((f"{i:012}", text, int(rng.integers(100_000))) for i, text in enumerate(texts))


def measure_import(captions: Path) -> dict[str, Any]:
    """Reading alone, and reading and writing into a fresh SQLite database with the installation's own settings."""
    from django.core.management import call_command

    from sampling.prompts import read_prompts
    from studies.prompt_import import import_file

    call_command("migrate", verbosity=0)
    file, reading = timed(lambda: read_prompts(captions))
    prompt_set, seconds = timed(lambda: import_file(captions, name="benchmark"))
    return {
        "rows": prompt_set.count,
        "duplicates": prompt_set.duplicates,
        "trimmed": file.trimmed,
        "seconds_reading": reading,
        "seconds": seconds,
    }


def measure_encoding(texts: list[str]) -> dict[str, Any]:
    """Cut, length-sorted batches beside open_clip's own ``encode_text`` at 77 tokens (ViT-B-32's text tower)."""
    import open_clip
    import torch

    from metrics.clip import ClipModel, tokenize
    from sampling.encode import encode_prompts, lengths

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32").eval()
    clip = ClipModel("ViT-B-32", model, open_clip.get_tokenizer("ViT-B-32"), lambda image: image, torch.device("cpu"))
    rng = np.random.default_rng(0)
    chosen = [texts[i] for i in rng.permutation(len(texts))[:ENCODED]]
    sample = chosen[:ENCODED_FULL]

    @torch.inference_mode()
    def full_length() -> np.ndarray:
        ids = tokenize(clip, sample)
        return np.concatenate([model.encode_text(part).numpy() for part in ids.split(53)])  # 53 × 77 tokens a call

    encode_prompts(sample[:8], clip)  # the first call allocates
    features, cut_seconds = timed(lambda: encode_prompts(chosen, clip))
    expected, full_seconds = timed(full_length)
    error = np.linalg.norm(features[: len(sample)] - expected, axis=1) / np.linalg.norm(expected, axis=1)
    cut, full = 1000 * cut_seconds / len(chosen), 1000 * full_seconds / len(sample)
    return {
        "prompts_cut": len(chosen),
        "prompts_full_length": len(sample),
        "mean_tokens": float(lengths(clip, tokenize(clip, chosen)).float().mean()),
        "ms_per_prompt_cut": cut,
        "ms_per_prompt_full_length": full,
        "ratio": full / cut,
        "largest_relative_error": float(error.max()),
    }


def measure_distances(rows: int = ROWS) -> dict[str, Any]:
    """One subset's distance to the whole set, prepared once, beside two ways through the product of covariances."""
    from metrics.frechet import FrechetReference

    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))[0]
    features = (rng.normal(size=(rows, DIMENSION)) * np.linspace(1.0, 0.05, DIMENSION)) @ rotation
    reference, preparing = timed(lambda: FrechetReference(features))
    whole = np.cov(features, rowvar=False)
    results = []
    for size in SUBSETS:
        indices = rng.permutation(rows)[:size]

        def through_the_product(
            root: Callable[[np.ndarray], float], chosen: np.ndarray = features[indices]
        ) -> float:
            covariance = np.cov(chosen, rowvar=False)
            shift = chosen.mean(axis=0) - reference.mean
            return float(shift @ shift + np.trace(covariance + whole) - 2.0 * root(covariance @ whole))

        ours, seconds = timed(lambda indices=indices: reference.distance(indices))
        row = {"size": size, "distance": ours, "seconds": seconds}
        for name, root in (("sqrtm", _by_sqrtm), ("eigvals", _by_eigenvalues)):
            theirs, took = timed(lambda root=root, through=through_the_product: through(root))
            row |= {f"seconds_{name}": took, f"ratio_{name}": took / seconds}
            row[f"difference_{name}"] = abs(theirs / ours - 1)
        results.append(row)
    return {"rows": rows, "dimension": DIMENSION, "seconds_preparing": preparing, "subsets": results}


def _by_sqrtm(product: np.ndarray) -> float:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a small subset's covariance is singular, and scipy says so
        return float(np.trace(linalg.sqrtm(product)).real)


def _by_eigenvalues(product: np.ndarray) -> float:
    return float(np.sqrt(np.clip(linalg.eigvals(product).real, 0.0, None)).sum())


def table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    read, clip, frechet = result["import"], result["encode"], result["frechet"]
    lines = [
        f"Import     {read['rows']} rows in {read['seconds']:.1f} s ({read['seconds_reading']:.1f} s reading), "
        f"{read['trimmed']} trimmed, {read['duplicates']} duplicates",
        f"Encode     {clip['ms_per_prompt_cut']:.2f} ms a prompt cut ({clip['mean_tokens']:.1f} tokens on average), "
        f"{clip['ms_per_prompt_full_length']:.2f} ms at full length: {clip['ratio']:.1f} times faster, "
        f"largest error {clip['largest_relative_error']:.1e} of the norm",
        f"Fréchet    {frechet['rows']} × {frechet['dimension']}, prepared once in {frechet['seconds_preparing']:.1f} s",
        f"{'n':>8} {'seconds':>9} {'sqrtm':>9} {'ratio':>7} {'differs':>8} {'eigvals':>9} {'ratio':>7} {'differs':>8}",
    ]
    lines += [
        f"{row['size']:8} {row['seconds']:9.3f} {row['seconds_sqrtm']:9.2f} {row['ratio_sqrtm']:6.0f}× "
        f"{row['difference_sqrtm']:8.0e} {row['seconds_eigvals']:9.2f} {row['ratio_eigvals']:6.0f}× "
        f"{row['difference_eigvals']:8.0e}"
        for row in frechet["subsets"]
    ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the numbers were measured with."""
    import torch

    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch", "open_clip_torch", "django")},
    }


def main() -> None:
    """Measure everything in a throwaway installation, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--captions", type=Path, help="a prompt file to import and encode instead of a synthetic one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenhand-benchmark-") as folder:
        os.environ["EVENHAND_VAR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        from sampling.prompts import PromptFileError, read_prompts

        captions = options.captions or Path(folder) / "captions.csv"
        if options.captions is None:
            write_captions(captions)
        try:
            texts = read_prompts(captions).texts
        except PromptFileError as error:
            parser.error(str(error))
        result = {
            "captions": options.captions.name if options.captions else "synthetic",
            "import": measure_import(captions),
            "encode": measure_encoding(texts),
            "frechet": measure_distances(),
            "machine": machine(),
        }
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
