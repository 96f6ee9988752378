"""The Inception network and its score, beside torch-fidelity, clean-fid and pytorch-fid with the same weights."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from cleanfid.resize import build_resizer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pytorch_fid import inception as pytorch_fid
from torch_fidelity.metric_isc import isc_features_to_metric

from evenhand.metrics.frechet import SELF_TOLERANCE, FrechetTarget
from evenhand.metrics.inception import (
    Inception,
    InceptionError,
    inception_score,
    load_inception,
    resize_clean,
    resize_like_tensorflow,
)
from tests.helpers.random_inception import reference_network, write_inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


@pytest.fixture(scope="module")
def inception(weights: Path) -> Inception:
    return load_inception(weights)


def pictures(count: int, side: int = 64) -> list[np.ndarray]:
    """Smooth noise, so that pictures differ in more than their grain."""
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC)) for each in small]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max())


def test_features_are_torch_fidelitys(inception: Inception, weights: Path) -> None:
    batch = pictures(3)
    ours = inception.embed([inception.prepare(each) for each in batch])
    with torch.inference_mode():
        stacked = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
        pool, logits = (each.numpy() for each in reference_network(weights)(stacked))
    assert pool.std(axis=0).mean() > 1e-3 * np.abs(pool).mean()  # the pictures' features do differ
    assert close(ours["pool"], pool)
    assert close(ours["logits_unbiased"], logits)


def test_features_are_pytorch_fids_where_nothing_is_scaled(inception: Inception, weights: Path) -> None:
    """It scales sizes by another filter and values by another range, so both are given as the network takes them."""
    batch = pictures(2, side=299)
    ours = inception.embed([inception.prepare(each) for each in batch])["pool"]
    state = torch.load(weights, weights_only=True)
    with mock.patch.object(pytorch_fid, "load_state_dict_from_url", return_value=state):
        network = pytorch_fid.InceptionV3([3], normalize_input=False).eval()
    with torch.inference_mode():
        values = (torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() - 128) / 128
        theirs = network(values)[0].squeeze(-1).squeeze(-1)
    assert close(ours, theirs.numpy())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 411), (299, 299), (512, 300), (1, 1)])
def test_the_resizes_are_theirs(height: int, width: int) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(tensor[None], size=(299, 299), align_corners=False)[0]
    assert torch.allclose(resize_like_tensorflow(tensor), theirs, atol=1e-3)
    clean = torch.from_numpy(build_resizer("clean")(picture)).permute(2, 0, 1)
    assert torch.equal(resize_clean(picture), clean)


def test_a_score_names_both_conventions_and_is_torch_fidelitys() -> None:
    logits = np.random.default_rng(0).normal(size=(97, 1008)).astype(np.float32) * 3
    ours = inception_score(logits)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.population_sd == pytest.approx(theirs["inception_score_std"], rel=1e-6)
    assert ours.sample_sd == pytest.approx(ours.population_sd * np.sqrt(10 / 9))
    assert (ours.splits, ours.seed, ours.count) == (10, 2020, 97)
    kept = isc_features_to_metric(torch.from_numpy(logits), splits=4, shuffle=False)
    assert inception_score(logits, splits=4, seed=None).mean == pytest.approx(kept["inception_score_mean"], rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 30), st.integers(2, 12), st.floats(0, 50))
def test_a_score_lies_between_one_and_the_number_of_classes(count: int, classes: int, scale: float) -> None:
    logits = scale * np.random.default_rng(count).normal(size=(count, classes))
    score = inception_score(logits, splits=2).mean
    assert 1 - 1e-9 <= score <= classes + 1e-9


def test_bad_logits_are_named() -> None:
    with pytest.raises(InceptionError, match="10 splits need at least as many pictures, there are 9"):
        inception_score(np.zeros((9, 4)))
    with pytest.raises(InceptionError, match="not finite"):
        inception_score(np.full((10, 4), np.nan))
    with pytest.raises(InceptionError, match="splits must be at least 1"):
        inception_score(np.zeros((9, 4)), splits=0)
    assert np.isnan(inception_score(np.zeros((9, 4)), splits=1).sample_sd)


# ------------------------------------------------------------------------------ weights


class Command:
    """What a malicious file of weights would hold."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"a": Command(tmp_path / "ran")}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Command(tmp_path / "ran")))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(InceptionError, match=rf"{name} is refused: it is a pickle"):
            load_inception(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_other_weights_are_named(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(InceptionError, match=r"no Inception weights at .*nothing\.pth"):
        load_inception(tmp_path / "nothing.pth")
    state = torch.load(weights, weights_only=True)
    torch.save({"fc.weight": state["fc.weight"], "more": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InceptionError, match=r"another network .* missing, 1 unknown, 0 of another shape"):
        load_inception(tmp_path / "other.pth")
    torch.save(state | {"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "classes.pth")
    with pytest.raises(InceptionError, match=r"0 missing, 0 unknown, 1 of another shape, for example fc\.weight"):
        load_inception(tmp_path / "classes.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InceptionError, match="but a list"):
        load_inception(tmp_path / "list.pth")
    (tmp_path / "short.pth").write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InceptionError, match=r"short\.pth"):
        load_inception(tmp_path / "short.pth")
    with pytest.raises(InceptionError, match="no resize 'lanczos'"):
        load_inception(weights, resize="lanczos")


@pytest.mark.slow
def test_fid_kid_and_score_of_folders_are_torch_fidelitys(weights: Path, tmp_path: Path) -> None:
    """The whole way: files, network, statistics. 24 and 20 pictures of another kind."""
    from torch_fidelity import calculate_metrics

    from evenhand.metrics.extraction import extract
    from evenhand.metrics.kernels import kid
    from evenhand.metrics.pictures import pictures_in

    for name, batch in (("one", pictures(24)), ("other", [255 - each // 2 for each in pictures(20)])):
        (tmp_path / name).mkdir()
        for i, each in enumerate(batch):
            Image.fromarray(each).save(tmp_path / name / f"{i:02}.png")
    theirs = calculate_metrics(
        input1=str(tmp_path / "one"), input2=str(tmp_path / "other"), cuda=False, isc=True, fid=True, kid=True,
        kid_subset_size=20, kid_subsets=1, feature_extractor_weights_path=str(weights), cache=False, verbose=False,
        save_cpu_ram=True, batch_size=8,
    )  # fmt: skip
    network = load_inception(weights)
    one, other = (
        extract(pictures_in(tmp_path / name), network, tmp_path / f"{name}-features", batch_size=8)
        for name in ("one", "other")
    )
    distance = FrechetTarget(other.gaussian).distance_to(one.main)
    assert distance == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert inception_score(one.features["logits_unbiased"]).mean == pytest.approx(
        theirs["inception_score_mean"], rel=1e-4
    )
    rows = np.random.RandomState(2020)
    first = one.main[rows.choice(24, 20, replace=False)]
    second = other.main[rows.choice(20, 20, replace=False)]
    assert kid(first, second).unbiased == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)
    itself = FrechetTarget(one.gaussian).distance_to(one.main)
    assert abs(itself) <= 2 * SELF_TOLERANCE * np.trace(one.gaussian.covariance)
