"""Measure the prompt side: import, encoding, Fréchet distances, representative draws, millions of prompts.

    python -m benchmarks.sampling [--only PART …] [--json FILE] [--captions FILE] [--rows N …]

Each part is timed beside the plain way of doing the same in the same run, so that the ratio holds on a busy machine.
Nothing is downloaded: the CLIP text tower has random weights, which take as long as trained ones, and the features of
the Fréchet parts are random numbers. Memory is the peak of a process of its own. On two cores about ten minutes in all.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import linalg

from benchmarks.machine import alone, machine, peak_memory

ROWS = 30_000
ENCODED, ENCODED_FULL = 2000, 300
DIMENSION, SUBSETS = 1024, (150, 5000)
SIZES, DRAWS = (50, 150, 500, 1000, 2000, 5000, 10_000), 5  # Fig. 10
STREAMED, STREAMED_DIMENSION = (1_000_000, 3_000_000), 256

THINGS = ["man", "woman", "dog", "cat", "bus", "table", "plate", "bench", "street", "kitchen", "pizza", "train"]
WORDS = [*THINGS, "a", "the", "on", "in", "with", "next", "to", "of", "and", "sitting", "riding", "white", "large"]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what ``work`` returns, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def write_captions(path: Path, rows: int = ROWS, seed: int = 0) -> None:
    """Write a table like COCO-30K: about 11 words a caption, some untrimmed, some broken in quotes, some repeated."""
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


def correlated(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Draw correlated features whose scales fall twentyfold, float32 (rows, dimension)."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0] * np.linspace(1.0, 0.05, dimension)[:, None]
    features = np.empty((rows, dimension), np.float32)
    for start in range(0, rows, 4096):
        block = features[start : start + 4096]
        block[:] = rng.normal(size=block.shape) @ mixing
    return features


# ------------------------------------------------------------------------------ import and encoding


def measure_import(captions: Path) -> dict[str, Any]:
    """Measure reading alone, and reading and writing into a fresh SQLite database."""
    from django.core.management import call_command

    from evenhand.sampling.prompts import read_prompts
    from evenhand.studies.prompt_import import import_file

    call_command("migrate", verbosity=0)
    file, reading = timed(lambda: read_prompts(captions))
    with writing_beside() as waits:
        prompt_set, seconds = timed(lambda: import_file(captions, name="benchmark"))
    return {
        "rows": prompt_set.count,
        "duplicates": prompt_set.duplicates,
        "trimmed": file.trimmed,
        "seconds_reading": reading,
        "seconds": seconds,
        "longest_wait_beside": max(waits),
    }


@contextmanager
def writing_beside() -> Iterator[list[float]]:
    """Write small rows from another thread all the while, and list the seconds that each took."""
    from django.contrib.auth import get_user_model
    from django.db import connection

    stop, waits = threading.Event(), [0.0]

    def write() -> None:
        while not stop.wait(0.02):
            create = partial(get_user_model().objects.create, username=f"rater {len(waits)}")
            waits.append(timed(create)[1])
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    yield waits
    stop.set()
    thread.join()


def measure_encoding(captions: Path) -> dict[str, Any]:
    """Measure shortened, length-sorted batches beside open_clip's ``encode_text`` at 77 tokens (ViT-B-32)."""
    import open_clip
    import torch

    from evenhand.metrics.clip import ClipModel, tokenize
    from evenhand.sampling.encode import encode_prompts, lengths
    from evenhand.sampling.prompts import read_prompts

    texts = read_prompts(captions).texts
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms("ViT-B-32")
    model.eval()
    clip = ClipModel("ViT-B-32", model, open_clip.get_tokenizer("ViT-B-32"), preprocess, torch.device("cpu"))
    rng = np.random.default_rng(0)
    prompts = [texts[i] for i in rng.permutation(len(texts))[:ENCODED]]
    sample = prompts[:ENCODED_FULL]

    @torch.inference_mode()
    def full_length() -> np.ndarray:
        ids = tokenize(clip, sample)
        return np.concatenate([model.encode_text(part).numpy() for part in ids.split(53)])  # 53 × 77 tokens a call

    encode_prompts(sample[:8], clip)  # the first call allocates memory
    features, cut_seconds = timed(lambda: encode_prompts(prompts, clip))
    expected, full_seconds = timed(full_length)
    error = np.linalg.norm(features[: len(sample)] - expected, axis=1) / np.linalg.norm(expected, axis=1)
    cut_ms, full_ms = 1000 * cut_seconds / len(prompts), 1000 * full_seconds / len(sample)
    return {
        "prompts_cut": len(prompts),
        "prompts_full_length": len(sample),
        "mean_tokens": float(lengths(clip, tokenize(clip, prompts)).float().mean()),
        "ms_per_prompt_cut": cut_ms,
        "ms_per_prompt_full_length": full_ms,
        "ratio": full_ms / cut_ms,
        "largest_relative_error": float(error.max()),
    }


# ------------------------------------------------------------------------------ one subset, the curve


def _through_the_product(
    features: np.ndarray, whole_covariance: np.ndarray, mean: np.ndarray, root: Callable[[np.ndarray], float]
) -> float:
    """Compute the distance as FID implementations do."""
    covariance = np.cov(features, rowvar=False)
    shift = features.mean(axis=0) - mean
    return float(shift @ shift + np.trace(covariance + whole_covariance) - 2.0 * root(covariance @ whole_covariance))


def _by_sqrtm(product: np.ndarray) -> float:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns that a small subset's covariance is singular
        return float(np.trace(linalg.sqrtm(product)).real)


def _by_eigenvalues(product: np.ndarray) -> float:
    return float(np.sqrt(np.clip(linalg.eigvals(product).real, 0.0, None)).sum())


def measure_subsets(rows: int = ROWS) -> dict[str, Any]:
    """Measure one subset's distance to the whole set, prepared once, beside two ways through covariances' product."""
    from evenhand.metrics.frechet import FrechetReference

    features = correlated(rows, DIMENSION)
    reference, preparing = timed(lambda: FrechetReference(features))
    whole_covariance = np.cov(features, rowvar=False)
    results = []
    for size in SUBSETS:
        indices = np.random.default_rng(size).permutation(rows)[:size]
        subset = features[indices].astype(float)
        runs = [timed(partial(reference.distance, indices)) for _ in range(5 if size < 1000 else 1)]
        distance, seconds = runs[0][0], float(np.median([run_seconds for _, run_seconds in runs]))
        row = {"size": size, "distance": distance, "seconds": seconds}
        for name, root in (("sqrtm", _by_sqrtm), ("eigvals", _by_eigenvalues)):
            work = partial(_through_the_product, subset, whole_covariance, reference.mean, root)
            other_distance, other_seconds = timed(work)
            row |= {f"seconds_{name}": other_seconds, f"ratio_{name}": other_seconds / seconds}
            row[f"difference_{name}"] = abs(other_distance / distance - 1)
        results.append(row)
    return {"rows": rows, "dimension": DIMENSION, "seconds_preparing": preparing, "subsets": results}


def measure_curve(rows: int = ROWS) -> dict[str, Any]:
    """Measure Fig. 10's curve in a process of its own, then the same draws through eigenvalues of the product."""
    with tempfile.TemporaryDirectory(prefix="evenhand-benchmark-") as folder:
        path = Path(folder) / "features.npy"
        np.save(path, correlated(rows, DIMENSION))
        result = alone(_curve, str(path))
        features = np.load(path, mmap_mode="r")
        whole_covariance, mean = np.cov(features, rowvar=False), features.mean(axis=0, dtype=float)
        rng, product_distances, start = np.random.default_rng(0), [], time.perf_counter()
        for _ in range(DRAWS):
            order = rng.permutation(rows)
            product_distances.append(
                [
                    _through_the_product(features[order[:n]].astype(float), whole_covariance, mean, _by_eigenvalues)
                    for n in SIZES
                ]
            )
        seconds = time.perf_counter() - start
    distances = np.array(result.pop("distances"))
    return result | {
        "rows": rows,
        "dimension": DIMENSION,
        "sizes": SIZES,
        "draws": DRAWS,
        "mean_distance": distances.mean(axis=1).tolist(),
        "seconds_eigvals": seconds,
        "ratio": seconds / result["seconds"],
        "ratio_with_preparation": seconds / (result["seconds"] + result["seconds_preparing"]),
        "largest_difference": float(np.abs(np.array(product_distances).T / distances - 1).max()),
    }


def _curve(path: str) -> dict[str, Any]:
    from evenhand.metrics.frechet import FrechetReference

    reference, preparing = timed(lambda: FrechetReference(np.load(path, mmap_mode="r")))
    distances, seconds = timed(lambda: reference.curve(SIZES, DRAWS, np.random.default_rng(0)))
    return {
        "distances": distances.tolist(),
        "seconds_preparing": preparing,
        "seconds": seconds,
        "peak_bytes": peak_memory(),
    }


# ------------------------------------------------------------------------------ representative draws


def measure_representative(captions: Path, figure: Path | None = None) -> dict[str, Any]:
    """Find how many representative prompts lie as near to the whole set as 5,000 random ones, with the demo encoder."""
    from django.conf import settings

    from evenhand.metrics.clip import load_clip
    from evenhand.metrics.frechet import FrechetReference
    from evenhand.sampling.encode import encode_prompts
    from evenhand.sampling.prompts import read_prompts
    from evenhand.sampling.representative import representative_subset
    from evenhand.sampling.subset import frechet_curve, random_subset
    from evenhand.studies.results.figures import frechet_curve as draw_curve

    encoder = load_clip(str(Path(settings.DEMO_CHECKPOINT) / "clip"))
    features, encoding = timed(lambda: encode_prompts(read_prompts(captions).texts, encoder))
    reference = FrechetReference(features)
    draws = range(10)
    target = float(np.mean([reference.distance(random_subset(reference.count, 5000, seed)) for seed in draws]))

    def mean_of(size: int) -> float:
        return float(np.mean([reference.distance(representative_subset(reference, size, s)) for s in range(3)]))

    low, high = 2, 5000  # the mean of three seeds falls with the size, apart from a few per cent of noise
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if mean_of(middle) <= target else (middle, high)
    _, seconds = timed(lambda: representative_subset(reference, 5000, 0))
    sizes = [size for size in SIZES if size < reference.count]
    curve, curve_seconds = timed(
        lambda: frechet_curve(reference, sizes, DRAWS, 0, representative_draws=2, gaussian_draws=2)
    )
    if figure is not None:
        figure.write_text(draw_curve(curve.to_dict(), 5000), encoding="utf-8")
    return {
        "prompts": reference.count,
        "dimension": reference.dimension,
        "seconds_encoding": encoding,
        "random_5000": target,
        "representative_for_the_same": high,
        "seconds_drawing_5000": seconds,
        "seconds_curves": curve_seconds,
        "curve": curve.to_dict(),
    }


# ------------------------------------------------------------------------------ millions


def measure_stream(rows: tuple[int, ...] = STREAMED) -> dict[str, Any]:
    """Measure prompts from a file, features to the disk, the whole set's Gaussian, a curve, a representative draw."""
    results = [alone(_stream, count) for count in rows]
    first, last = results[0], results[-1]
    growth = (last["seconds"] / first["seconds"]) / (last["rows"] / first["rows"])
    return {"dimension": STREAMED_DIMENSION, "sets": results, "growth_of_time_per_row": growth}


def _stream(count: int) -> dict[str, Any]:
    from itertools import islice

    from evenhand.metrics.frechet import FrechetReference
    from evenhand.sampling.features import FeatureCache
    from evenhand.sampling.prompts import stream_prompts
    from evenhand.sampling.subset import frechet_curve

    mixing = correlated(STREAMED_DIMENSION, STREAMED_DIMENSION)

    def encode(texts: Any, *, progress: Any = None) -> np.ndarray:  # noqa: ARG001  (the cache hands it over)
        """Stand in for a text tower, whose speed the encoding part measures: rows that depend on the chunk's texts."""
        rng = np.random.default_rng(len(texts[0]) + 1000 * len(texts[-1]) + len(texts))
        return rng.standard_normal((len(texts), STREAMED_DIMENSION), np.float32) @ mixing

    with tempfile.TemporaryDirectory(prefix="evenhand-benchmark-") as folder:
        path = Path(folder) / "prompts.jsonl"
        with path.open("w") as file:
            file.writelines(f'{{"caption": "a {THINGS[i % 12]} and {i} {THINGS[i % 7]}s"}}\n' for i in range(count))
        prompts = stream_prompts(path)
        cache = FeatureCache(Path(folder), "streamed", count)
        parts: dict[str, float] = {}
        features, parts["features"] = timed(
            lambda: cache.fill(lambda start, stop: [p.text for p in islice(prompts, stop - start)], encode)
        )
        reference, parts["reference"] = timed(lambda: FrechetReference(features))
        _, parts["curve"] = timed(lambda: frechet_curve(reference, SIZES, 1, 0, representative_draws=1))
    seconds = parts["features"] + parts["reference"]  # what depends on the whole set
    return {"rows": count, "seconds": seconds, "seconds_of": parts, "peak_bytes": peak_memory()}


# ------------------------------------------------------------------------------ all of it

LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "import": lambda r: (
        f"{r['rows']} rows in {r['seconds']:.1f} s ({r['seconds_reading']:.1f} s reading), {r['trimmed']} trimmed, "
        f"{r['duplicates']} duplicates; others' writes waited at most {r['longest_wait_beside']:.2f} s"
    ),
    "encode": lambda r: (
        f"{r['ms_per_prompt_cut']:.2f} ms a prompt cut ({r['mean_tokens']:.1f} tokens on average), "
        f"{r['ms_per_prompt_full_length']:.2f} ms at full length: {r['ratio']:.1f} times faster, "
        f"largest error {r['largest_relative_error']:.1e} of the norm"
    ),
    "subset": lambda r: "\n           ".join(
        f"n = {each['size']}: {each['seconds']:.3f} s; sqrtm {each['ratio_sqrtm']:.0f} times longer, eigvals "
        f"{each['ratio_eigvals']:.0f} times"
        for each in r["subsets"]
    ),
    "curve": lambda r: (
        f"{r['rows']} × {r['dimension']}: {r['seconds']:.1f} s + {r['seconds_preparing']:.1f} s preparing; eigvals "
        f"{r['ratio']:.1f} times longer ({r['ratio_with_preparation']:.1f} with preparation); "
        f"peak {r['peak_bytes'] / 1e9:.2f} GB"
    ),
    "representative": lambda r: (
        f"{r['representative_for_the_same']} representative prompts lie as near to all {r['prompts']} as 5,000 random "
        f"ones ({r['random_5000']:.4f}); 5,000 are drawn in {r['seconds_drawing_5000']:.1f} s"
    ),
    "stream": lambda r: "\n           ".join(
        f"{each['rows']} prompts: {each['seconds']:.0f} s, curves {each['seconds_of']['curve']:.0f} s, peak "
        f"{each['peak_bytes'] / 1e9:.2f} GB"
        for each in r["sets"]
    ),
}


def main() -> None:
    """Measure the parts in a throwaway installation, print a line for each, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(LINES), metavar="PART", help=f"some of {', '.join(LINES)}")
    parser.add_argument("--json", type=Path, help="write the numbers here; other parts' numbers in it are kept")
    parser.add_argument("--captions", type=Path, help="a prompt file to import and encode instead of a synthetic one")
    parser.add_argument("--figure", type=Path, help="draw the curves of the representative part into this SVG")
    parser.add_argument("--rows", type=int, nargs="+", default=list(STREAMED), help="sizes of the streamed sets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evenhand-benchmark-") as folder:
        os.environ["EVENHAND_VAR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "evenhand.config.settings"
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        captions = options.captions or Path(folder) / "captions.csv"
        if options.captions is None:
            write_captions(captions)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "import": lambda: measure_import(captions),
            "encode": lambda: measure_encoding(captions),
            "subset": measure_subsets,
            "curve": measure_curve,
            "representative": lambda: measure_representative(captions, options.figure),
            "stream": lambda: measure_stream(tuple(options.rows)),
        }
        result: dict[str, Any] = {}
        if options.json and options.json.exists():
            result = json.loads(options.json.read_text())
        result |= {"captions": options.captions.name if options.captions else "synthetic", "machine": machine()}
        for name in options.only or LINES:
            result[name] = parts[name]()
            print(f"{name.capitalize():10} {LINES[name](result[name])}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
