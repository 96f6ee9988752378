"""Record what a picture's bits depend on."""

from __future__ import annotations

import platform
from typing import Any

import diffusers
import torch
import transformers

from evenhand.generation.kinds.registry import Pipeline, kind_of
from evenhand.generation.network import is_compiled, network_rows
from evenhand.generation.schedule import Scheduler


def provenance_of(
    pipeline: Pipeline,
    scheduler: Scheduler,
    scheduler_name: str,
    steps: int,
    size: tuple[int, int],
    batch_size: int,
) -> dict[str, Any]:
    """Collect what a picture's bits depend on beside its prompt, seed and arm; JSON-able. size: pixels, rows first."""
    device = pipeline.device
    on_gpu = device.type == "cuda"
    config = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return {
        "scheduler": {"name": scheduler_name, "class": type(scheduler).__name__, "config": config, "steps": steps},
        "size": {"height": size[0], "width": size[1]},
        "rows": {"network": network_rows(batch_size), "vae": batch_size, "text": batch_size},
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "processor": {"machine": platform.machine(), "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
        "channels_last": pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last),
        "compiled": is_compiled(pipeline.unet),
        "versions": {
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
            **({"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if on_gpu else {}),
        },
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        **kind_of(pipeline).provenance(size),
    }
