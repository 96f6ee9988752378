from __future__ import annotations

import pytest
import torch

from evenhand.generation.methods.rows import Moment
from evenhand.generation.schedule import advance, build_scheduler, signal_of

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@pytest.mark.parametrize("output", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "dpm_solver", "euler"])
def test_the_picture_without_noise_is_the_one_that_schedulers_end_on(scheduler: str, output: str) -> None:
    """Their last step returns it; before, the DDIM step tells it."""
    stock = build_scheduler(scheduler, CONFIG | {"prediction_type": output}, 4)
    generator = torch.Generator().manual_seed(1)
    latents, prediction = torch.randn(2, 1, 4, 3, 3, generator=generator, dtype=torch.float64)
    latents = latents * stock.init_noise_sigma
    for entry, timestep in enumerate(stock.timesteps):
        scaled = stock.scale_model_input(latents, timestep)
        moment = Moment(scaled, signal_of(stock, entry), output, torch.Tensor)
        clean = moment.clean(prediction)
        torch.testing.assert_close(moment.prediction_of(clean), prediction, rtol=0, atol=1e-12)
        if scheduler == "ddim":
            stepped = stock.step(prediction, timestep, latents)  # type: ignore[call-arg]
            torch.testing.assert_close(clean, stepped.pred_original_sample, rtol=0, atol=1e-5)  # type: ignore[attr-defined]
        latents = advance(stock, prediction, timestep, latents, lambda: torch.zeros(1, 4, 3, 3))
    torch.testing.assert_close(latents, clean, rtol=0, atol=1e-4)
