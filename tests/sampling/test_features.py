"""The cache of features: nothing is encoded twice, whatever stopped the work, and damage is repaired."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evenhand.metrics.clip import load_clip
from evenhand.sampling import encode, features
from evenhand.sampling.encode import encode_prompts
from evenhand.sampling.features import CacheError, FeatureCache, Features, Progress
from tests.helpers.captions import COUNT, TEXTS, texts_of
from tests.helpers.tiny_clip import WIDTH, tiny_clip, write_clip


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five chunks: four of ten rows and one of seven."""
    monkeypatch.setattr(features, "CHUNK", 10)
    monkeypatch.setattr(encode, "CHUNK", 10)


class Counting:
    """An encoder that knows which prompts it was given; it dies at the ``dies_at``-th chunk."""

    def __init__(self, dies_at: int | None = None, dimension: int = 3) -> None:
        self.given: list[str] = []
        self.calls, self.dies_at, self.dimension = 0, dies_at, dimension

    def __call__(self, texts: Sequence[str], *, progress: Progress | None = None) -> Features:
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        self.given += texts
        if progress is not None:
            progress(len(texts), len(texts))
        return np.array([[hash(t) % 1000 + k for k in range(self.dimension)] for t in texts], np.float32)


EXPECTED = Counting()(TEXTS)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "features", "captions-clip", COUNT)


def test_features_are_kept_as_a_memory_map_and_read_without_an_encoder(cache: FeatureCache) -> None:
    assert cache.read() is None
    first = cache.fill(texts_of, Counting())
    assert isinstance(first, np.memmap)
    assert np.array_equal(first, EXPECTED)
    found = FeatureCache(cache.folder, cache.key, COUNT).read()
    assert found is not None
    assert found.dtype == np.float32
    assert np.array_equal(found, EXPECTED)


def test_a_full_cache_is_never_encoded_again(cache: FeatureCache) -> None:
    cache.fill(texts_of, Counting())
    again = Counting()
    assert np.array_equal(cache.fill(texts_of, again), EXPECTED)
    assert again.given == []


@pytest.mark.parametrize("dies_at", [1, 2, 5])
def test_an_interrupted_run_goes_on_where_it_stopped(cache: FeatureCache, dies_at: int) -> None:
    first = Counting(dies_at)
    with pytest.raises(KeyboardInterrupt):
        cache.fill(texts_of, first)
    assert cache.read() is None
    second = Counting()
    assert np.array_equal(cache.fill(texts_of, second), EXPECTED)
    assert first.given + second.given == TEXTS


def test_a_flipped_bit_costs_its_chunk_alone(cache: FeatureCache) -> None:
    cache.fill(texts_of, Counting())
    data = bytearray(cache.path.read_bytes())
    data[-4 * 3 * 7 - 5] ^= 1  # the last value before the last chunk, which is row 39 of chunk 3
    cache.path.write_bytes(data)
    assert cache.read() is None
    mending = Counting()
    assert np.array_equal(cache.fill(texts_of, mending), EXPECTED)
    assert mending.given == TEXTS[30:40]


@pytest.mark.parametrize("left", [0, 50, 128, 300])
def test_a_file_cut_short_is_made_again(cache: FeatureCache, left: int) -> None:
    cache.fill(texts_of, Counting())
    os.truncate(cache.path, left)
    assert cache.read() is None
    assert np.array_equal(cache.fill(texts_of, Counting()), EXPECTED)
    assert cache.read() is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"count": 47}', '{"count": 46, "chunk": 10, "checksums": {}}'])
def test_a_spoilt_record_is_no_record(cache: FeatureCache, content: str) -> None:
    cache.fill(texts_of, Counting())
    cache.record.write_text(content)
    assert cache.read() is None
    assert np.array_equal(cache.fill(texts_of, Counting()), EXPECTED)
    assert cache.read() is not None


def test_features_of_another_set_or_width_do_not_pass(cache: FeatureCache) -> None:
    cache.fill(texts_of, Counting())
    assert FeatureCache(cache.folder, cache.key, COUNT - 1).read() is None
    cache.record.unlink()
    assert cache.fill(texts_of, Counting(dimension=4)).shape == (COUNT, 4)
    assert cache.read() is not None


def test_half_a_cache_of_another_width_is_named_and_left(cache: FeatureCache) -> None:
    with pytest.raises(KeyboardInterrupt):
        cache.fill(texts_of, Counting(dies_at=3))
    before = cache.path.read_bytes()
    with pytest.raises(CacheError, match=r"captions-clip\.npy: .* not of the encoder's 4 dimensions"):
        cache.fill(texts_of, Counting(dimension=4))
    assert cache.path.read_bytes() == before


def test_looking_changes_nothing(cache: FeatureCache) -> None:
    kept = cache.fill(texts_of, Counting())
    with pytest.raises(ValueError, match="read-only"):
        kept[0, 0] = 1.0
    os.truncate(cache.path, 300)
    assert cache.read() is None
    assert cache.path.stat().st_size == 300


def test_progress_rises_to_the_whole_set(cache: FeatureCache) -> None:
    seen: list[tuple[int, int]] = []
    cache.fill(texts_of, Counting(), progress=lambda done, total: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (COUNT, COUNT)


def test_features_that_are_not_finite_are_named_by_their_prompt(cache: FeatureCache) -> None:
    def broken(texts: Sequence[str], *, progress: Progress | None = None) -> Features:
        array = Counting()(texts)
        array[4, 1] = np.nan
        return array

    with pytest.raises(CacheError, match="no finite features for prompt 4, 'a dog and 4 cats"):
        cache.fill(texts_of, broken)
    assert cache.read() is None


def test_missing_prompts_are_an_error(cache: FeatureCache) -> None:
    with pytest.raises(CacheError, match="prompts 0 to 9 were asked for, 4 are there"):
        cache.fill(lambda start, stop: TEXTS[:4], Counting())


def test_the_real_encoder_fills_it_with_what_it_gives_at_once(cache: FeatureCache, tmp_path: Path) -> None:
    clip = tiny_clip(tmp_path / "clip")

    def encoded(texts: Sequence[str], *, progress: Progress | None = None) -> Features:
        return encode_prompts(texts, clip, progress=progress)

    kept = cache.fill(texts_of, encoded)
    assert kept.shape == (COUNT, WIDTH)
    assert np.array_equal(kept, encode_prompts(TEXTS, clip))  # the same chunks, so the same bits


CHILD = """
import os, signal, sys
import numpy as np
from pathlib import Path
from evenhand.sampling import encode, features
features.CHUNK = encode.CHUNK = 10
from evenhand.metrics.clip import load_clip
from evenhand.sampling.encode import encode_prompts
from tests.helpers.captions import COUNT, texts_of
clip, calls = load_clip(sys.argv[2]), 0

def encoded(texts, *, progress=None):
    global calls
    calls += 1
    if calls == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode_prompts(texts, clip)

features.FeatureCache(Path(sys.argv[1]), "captions-clip", COUNT).fill(texts_of, encoded)
"""


def test_a_killed_process_leaves_what_it_had_done(cache: FeatureCache, tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip")
    root = Path(__file__).resolve().parents[2]
    child = subprocess.run([sys.executable, "-c", CHILD, str(cache.folder), str(folder)], cwd=root)
    assert child.returncode == -signal.SIGKILL
    clip = load_clip(str(folder))
    given: list[str] = []

    def encoded(texts: Sequence[str], *, progress: Progress | None = None) -> Features:
        given.extend(texts)
        return encode_prompts(texts, clip)

    kept = cache.fill(texts_of, encoded)
    assert given == TEXTS[30:]  # three chunks were done; the lock of the dead process holds nobody up
    assert np.array_equal(kept, encode_prompts(TEXTS, clip))
