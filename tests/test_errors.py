"""What a person can mend, and what the machine may do better the next time."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from evenhand.demo.evaluate import CHECKPOINT
from evenhand.errors import InputError, is_machine_fault
from evenhand.generation.checkpoint import load_pipeline
from evenhand.generation.fingerprints import CheckpointError


def led_to(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except Exception as error:
            raise RuntimeError("cannot load") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error", [MemoryError(), TimeoutError(), torch.OutOfMemoryError("full"), OSError(errno.EIO, "disk")]
)
def test_memory_disk_and_time_are_faults_of_the_machine(error: Exception) -> None:
    assert is_machine_fault(error)
    assert is_machine_fault(led_to(error))


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "no file"), OSError("no name"), RuntimeError("a shape"), InputError()]
)
def test_a_wrong_file_is_none(error: Exception) -> None:
    assert not is_machine_fault(error)
    assert not is_machine_fault(led_to(error))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (OSError(errno.ENOSPC, "No space left on device"), OSError),
        (RuntimeError("size mismatch"), CheckpointError),
    ],
)
def test_loading_passes_faults_of_the_machine_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> Path:
        raise error

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", fail)
    with pytest.raises(expected) as caught:
        load_pipeline(CHECKPOINT, device="cpu")
    assert isinstance(caught.value, InputError) == (expected is CheckpointError)
