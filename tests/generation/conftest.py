"""The tiny Stable Diffusion of ``tiny.py`` in the forms that the tests need, and one thread for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from tests.helpers.tiny_models import tiny_pipeline, tiny_xl_pipeline


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits may depend on the number of threads; tests that ask for more set it themselves."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def pipeline() -> StableDiffusionPipeline:
    """Float32; tests share it and change nothing of it."""
    return tiny_pipeline()


@pytest.fixture(scope="session")
def pipeline64() -> StableDiffusionPipeline:
    """The same weights in float64."""
    return tiny_pipeline(torch.float64)


@pytest.fixture(scope="session")
def pipeline16() -> StableDiffusionPipeline:
    """The same weights in bfloat16, the half precision that a CPU computes in."""
    return tiny_pipeline(torch.bfloat16)


@pytest.fixture(scope="session")
def xl() -> StableDiffusionXLPipeline:
    """The tiny XL, float32; tests share it and change nothing of it."""
    return tiny_xl_pipeline()


@pytest.fixture
def stock() -> StableDiffusionPipeline:
    """A fresh one that guidance has never touched: diffusers' own processors."""
    return tiny_pipeline()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float32 pipeline saved as a diffusers folder; tests do not write to it."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    tiny_pipeline().save_pretrained(folder, safe_serialization=True)
    return folder
