"""Triton interprets the kernel here, without a GPU; the variable must be set before Triton is imported."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

SCRIPT = """
import torch
import torch.nn.functional as F
from benchmarks.attention_gpu import heads, kernel_arguments
from benchmarks.attention_kernel import subtract_semantic_token
from evenhand.generation.attention import RowChange, corrected, after_first, perturbation

torch.manual_seed(0)
for dtype, tolerance in ((torch.float32, 1e-5), (torch.float16, 2e-3)):
    for per_head in (False, True):
        query, key, value = heads(70, 20, dtype, torch.device("cpu"), rows=4)  # a part of a block, a part of a chunk
        allowed = after_first(77)
        allowed[[3, 7]] = False
        changes = [None, RowChange(5.0, allowed, per_head), None, RowChange(10.0, after_first(77))]
        stock = F.scaled_dot_product_attention(query, key, value)
        change = perturbation(changes, device=query.device, dtype=dtype)
        expected, _ = corrected(stock.clone(), query, key, value, change)
        outputs = stock.clone()
        subtract_semantic_token(outputs, query, key, value, *kernel_arguments(changes, query.device))
        assert torch.equal(outputs[[0, 2]], stock[[0, 2]])
        assert (outputs - stock)[[1, 3]].abs().max() > 1
        assert (outputs - expected).abs().max() <= tolerance * expected.abs().max()
"""


def test_the_kernel_corrects_as_the_operators_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
