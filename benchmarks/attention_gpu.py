"""Measure ways of correcting perturbed rows on one GPU: torch's operators, and one Triton kernel.

    python -m benchmarks.attention_gpu [--json FILE]

The cross-attention modules of Stable Diffusion 1.5 at 512×512 and one of Stable Diffusion XL's heads; 16 rows, of which
eight are perturbed. Times are medians in milliseconds; the difference is the largest between the two corrections.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.attention_kernel import subtract_semantic_token
from evenhand.generation.attention import RowChange, after_first, corrected, dense_perturbation

ROWS, PERTURBED, HEADS, TOKENS = 16, 8, 8, 77
SHAPES = ((4096, 40), (1024, 80), (256, 160), (64, 160), (4096, 64))  # patches, channels a head
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def milliseconds(work: Callable[[], object], repeats: int = 20) -> float:
    """Return the median of ``repeats`` runs, after three more, by the GPU's own clock."""
    times = []
    for _ in range(repeats + 3):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[3:])


@torch.no_grad()
def compare(patches: int, channels: int, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Measure one kind of module."""
    query, key, value = heads(patches, channels, dtype, device)
    changes = [RowChange(10.0, after_first(TOKENS)) if row < PERTURBED else None for row in range(ROWS)]
    change = dense_perturbation(changes, tokens=TOKENS, device=device, dtype=dtype)
    stock = F.scaled_dot_product_attention(query, key, value)
    expected, _ = corrected(stock.clone(), query, key, value, change)
    outputs = stock.clone()
    arguments = kernel_arguments(changes, device)
    subtract_semantic_token(outputs, query, key, value, *arguments)
    return {
        "patches": patches,
        "channels": channels,
        "dtype": str(dtype),
        "largest_difference": (outputs - expected).abs().max().item(),
        "largest_output": expected.abs().max().item(),
        "attention_ms": milliseconds(lambda: F.scaled_dot_product_attention(query, key, value)),
        "operators_ms": milliseconds(lambda: corrected(outputs, query, key, value, change)),
        "kernel_ms": milliseconds(lambda: subtract_semantic_token(outputs, query, key, value, *arguments)),
    }


def heads(
    patches: int, channels: int, dtype: torch.dtype, device: torch.device, rows: int = ROWS
) -> tuple[torch.Tensor, ...]:
    """Draw query, key and value as the network's projections lay them out: heads beside each other in memory."""
    lengths = (patches, TOKENS, TOKENS)
    drawn = (torch.randn(rows, length, HEADS * channels, device=device).to(dtype) for length in lengths)
    return tuple(each.unflatten(2, (HEADS, channels)).transpose(1, 2) for each in drawn)


def kernel_arguments(changes: list[RowChange | None], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return rows, coefficients, barred tokens and per-head flags as the kernel takes them, plain rows left out."""
    perturbed = [(row, change) for row, change in enumerate(changes) if change is not None]
    barred = torch.stack([~change.allowed_tokens for _, change in perturbed])
    return (
        torch.tensor([row for row, _ in perturbed]).to(device),
        torch.tensor([1.0 + change.scale for _, change in perturbed]).to(device),
        barred.to(device, torch.uint8),
        torch.tensor([change.per_head for _, change in perturbed]).to(device, torch.uint8),
    )


def main() -> None:
    """Print a line for each kind of module; with ``--json`` also write the numbers."""
    parser = argparse.ArgumentParser(description="Correct perturbed rows on one GPU.")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this machine offers no CUDA GPU")
    device = torch.device("cuda")
    results = [compare(*shape, dtype, device) for dtype in DTYPES for shape in SHAPES]
    for each in results:
        print(
            f"{each['dtype']:<16}{each['patches']:>6}{each['channels']:>5}  attention {each['attention_ms']:.3f}  "
            f"operators {each['operators_ms']:.3f}  kernel {each['kernel_ms']:.3f} ms  "
            f"difference {each['largest_difference']:.1e} of {each['largest_output']:.1f}"
        )
    if options.json:
        text = json.dumps({"device": torch.cuda.get_device_name(), "modules": results}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
