"""A scheduler for pipelines that runs any formula of `sampler_formulas` over any levels of `noise_levels`."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from studio.pipelines.run.formula_table import TIMESTEP_FORMULAS, get_formula
from studio.pipelines.run.noise_levels import compute_levels, find_timestep, make_timestep_levels, make_unipc_levels
from studio.pipelines.run.sampler_formulas import Steps, make_karras_levels

if TYPE_CHECKING:
    import torch


class LevelScheduler:
    """Walks a sampler's formula call by call; to a pipeline it looks like a scheduler of diffusers.

    A step of the pipeline is one call of the model, so a sampler that calls the model twice a step has twice the
    timesteps, as diffusers' own Heun has. The latents are kept in float32 between the calls.
    """

    def __init__(self, sampler: str = "Euler", schedule: str = "Uniform", xl: bool = False, **trained: Any) -> None:
        """Take the sampler and schedule by name, and of a checkpoint's scheduler config its betas and prediction type.

        Raises:
            KeyError: a sampler that has no formula, or a schedule that SCHEDULES lacks.
        """
        from diffusers.configuration_utils import FrozenDict
        from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler

        euler = EulerDiscreteScheduler(**trained)
        kept = {name: euler.config[name] for name in ("num_train_timesteps", "prediction_type", "beta_end")}
        own = {"sampler": sampler, "schedule": schedule, "xl": xl}
        self.config: Any = FrozenDict({**kept, "steps_offset": 1, **trained, **own})
        self.alphas_cumprod = euler.alphas_cumprod
        self._trained = self._list_trained_levels()
        self._over_timesteps = sampler in TIMESTEP_FORMULAS and schedule == "Automatic"
        self._formula = get_formula(sampler, over_timesteps=self._over_timesteps)
        self.order = max(1, self._formula.calls)
        self.prompt_calls = max(2, self._formula.calls) if self._formula.second_order else 1
        self.noise_sampler_seed: Sequence[int] | None = None
        self.batch_positions: Sequence[int] | None = None
        self.clean: torch.Tensor | None = None
        self.unguided: torch.Tensor | None = None  # what the model answered without the prompt, for the coming step
        self.set_timesteps(20)

    @property
    def init_noise_sigma(self) -> float:
        """The first noise level, by which pipelines multiply unit noise; the spread of a noisy image at that level for
        samplers over timesteps, and for ComfyUI's batches where it is the checkpoint's last."""
        level = self._first_level
        highest = level > self._trained[-1] * (1 - 1e-5)
        if self._over_timesteps or (self.batch_positions is not None and highest):
            return _compute_spread(level)
        return level

    @property
    def needs_unguided(self) -> bool:
        """Whether the steps need what the model answers without the prompt, as `unguided`."""
        return self._formula.needs_unguided

    @property
    def guidance_share(self) -> float:
        """What a CFG scale is multiplied by."""
        return self._formula.scale_share

    @property
    def step_index(self) -> int | None:
        """How many calls of the model were answered; None before the first."""
        return self._calls_done

    @property
    def begin_index(self) -> int | None:
        """The call to begin with, when an image is drawn over."""
        return self._begin

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this call: the earlier ones are left out."""
        self._begin = begin_index

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        """Compute the levels and timesteps of a run, 1 step and more."""
        import torch

        levels = self._compute_levels(num_inference_steps)
        self.num_inference_steps = num_inference_steps
        self._first_level = levels[0]
        if self._formula.full_range:
            low, high = self._trained[0], self._trained[-1]
            levels = make_karras_levels(num_inference_steps, low, high) if num_inference_steps > 1 else [high, low]
        self._levels = levels
        self._called = self._list_called_levels(levels)
        self.sigmas = torch.tensor([*self._called, levels[-1]], dtype=torch.float32)
        timesteps = [self._find_timestep(level) for level in self._called]
        self.timesteps = torch.tensor(timesteps, dtype=torch.float32, device=device)
        self._begin: int | None = None
        self._calls_done: int | None = None
        self._steps: Steps | None = None
        self._exact: torch.Tensor | None = None
        self._brownian: Any = None

    def _list_trained_levels(self) -> list[float]:
        """The checkpoint's own levels, ascending."""
        return (((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5).tolist()

    def _find_timestep(self, level: float) -> float:
        return find_timestep(level, self._trained)

    def _list_called_levels(self, levels: Sequence[float]) -> list[float]:
        """The levels at which the formula calls the model, found by running it on zeros."""
        import torch

        zero = torch.zeros(1)
        steps = self._formula.formula(zero, levels, lambda now, then: zero)
        more = (zero,) if self._formula.needs_unguided else ()
        called = []
        try:
            x, level = next(steps)
            while True:
                called.append(level)
                x, level = steps.send((x, zero, *more))
        except StopIteration:
            return called

    def _compute_levels(self, steps: int) -> list[float]:
        if self._formula.to_last:
            return make_unipc_levels(steps, self._trained)
        if self._over_timesteps:
            levels = make_timestep_levels(steps, self._trained)
            calls = len(levels) - 1 + (self._formula.resume is not None)
            return [*levels, *levels[-1:] * (steps - calls)]  # pipelines leave out calls by the number of steps
        dropped = self._formula.drop_level
        levels = compute_levels(self.config["schedule"], steps + dropped, self._trained, xl=self.config["xl"])
        return [*levels[:-2], levels[-1]] if dropped else levels

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        """Divide the latents by the spread that they have at the level of the coming call."""
        return sample / _compute_spread(self._called[self._find_call(timestep)])

    def add_noise(self, original_samples: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """Noise images to the level of the coming call; after the last one to the final level."""
        call = self._find_call(timesteps.flatten()[0])
        return original_samples + noise * float(self.sigmas[call])

    def step(
        self,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        """Answer a call of the model and return the latents for the next one.

        Args:
            model_output: What the model predicted, of the checkpoint's prediction type.
            timestep: The call's timestep.
            sample: The latents of the call, not scaled.
            generator: A torch generator, or one an image, that ancestral noise is drawn from.
            return_dict: False gives a tuple of the latents alone.
        """
        call = self._find_call(timestep)
        exact = self._restore_precision(sample)
        clean = self.clean = self._predict_clean(model_output.float(), exact, self._called[call])
        if self._steps is None:
            self._start(exact, call, generator)
        assert self._steps is not None
        try:
            latents, level = self._steps.send(self._build_answer(exact, clean, call))
            self._plan_call(call + 1, level)
        except StopIteration as end:
            self._plan_call(call + 1, None)
            latents = end.value / _compute_spread(self._levels[-1]) if self._over_timesteps else end.value
        self._exact = latents
        self._calls_done = call + 1
        latents = latents.to(sample.dtype)
        return SimpleNamespace(prev_sample=latents, pred_original_sample=clean) if return_dict else (latents,)

    def _plan_call(self, call: int, level: float | None) -> None:
        """Take note of the level of a call to come, None at the end; here all are known ahead."""

    def _build_answer(self, latents: torch.Tensor, clean: torch.Tensor, call: int) -> tuple[torch.Tensor, ...]:
        """What the formula is sent: latents and prediction, and with CFG++ the one without the prompt. Where there was
        no guidance the two are the same."""
        if not self._formula.needs_unguided:
            return latents, clean
        unguided, self.unguided = self.unguided, None
        if unguided is None:
            return latents, clean, clean
        return latents, clean, self._predict_clean(unguided.float(), latents, self._called[call])

    def _start(self, latents: torch.Tensor, call: int, generator: Any) -> None:
        from diffusers.utils.torch_utils import randn_tensor

        def draw(now: float, then: float) -> torch.Tensor:
            if self._formula.brownian:
                return self._draw_brownian(latents, now, then)
            return randn_tensor(latents.shape, generator=generator, device=latents.device, dtype=latents.dtype)

        if self._formula.resume is not None and call:
            steps, skipped = self._formula.resume(latents, self._levels[call - 1 :], draw), 0
        elif self._formula.calls:  # every step makes the same number of calls: begin with the levels left
            steps, skipped = self._formula.formula(latents, self._levels[call // self._formula.calls :], draw), 0
        else:
            steps, skipped = self._formula.formula(latents, self._levels, draw), call
        next(steps)
        for _ in range(skipped):  # a formula without memory of earlier steps: its state is what it is sent
            steps.send((latents, latents))
        self._steps = steps

    def _draw_brownian(self, latents: torch.Tensor, now: float, then: float) -> torch.Tensor:
        import torch
        from diffusers.schedulers.scheduling_dpmsolver_sde import BrownianTreeNoiseSampler

        if self._brownian is None:
            least = min(level for level in self._levels if level > 0)
            seeds, positions = self.noise_sampler_seed, self.batch_positions
            seed: Any = None if seeds is None else list(seeds)
            like = latents.cpu()
            if seeds is not None and positions is not None:  # one tree for a whole batch
                like, seed = like[:1].expand(max(positions) + 1, *like.shape[1:]), seeds[0]
            self._brownian = BrownianTreeNoiseSampler(like, least, self._levels[0], seed)
        drawn = self._brownian(torch.tensor(now), torch.tensor(then)).to(latents.device)
        return drawn if self.batch_positions is None else drawn[list(self.batch_positions)]

    def _restore_precision(self, sample: torch.Tensor) -> torch.Tensor:
        """The latents in float32: as they were computed when `sample` is the last step's rounded, else `sample`."""
        import torch

        kept = self._exact
        if kept is not None and kept.shape == sample.shape and torch.equal(kept.to(sample.dtype), sample):
            return kept
        return sample.float()

    def _predict_clean(self, output: torch.Tensor, sample: torch.Tensor, level: float) -> torch.Tensor:
        kind = self.config["prediction_type"]
        if kind == "epsilon":
            return sample - level * output
        if kind == "v_prediction":
            return sample / (level**2 + 1) - output * level / (level**2 + 1) ** 0.5
        return output  # "sample"

    def _find_call(self, timestep: Any) -> int:
        if self._calls_done is not None:
            return min(self._calls_done, len(self._called))
        if self._begin is not None:
            return self._begin
        return int((self.timesteps.cpu() - float(timestep)).abs().argmin()) if timestep is not None else 0

    def __len__(self) -> int:
        return int(self.config["num_train_timesteps"])


def _compute_spread(level: float) -> float:
    """The spread of a noisy image at that level, where an image without noise has 1."""
    return (level**2 + 1) ** 0.5
