"""The published method in eager PyTorch (benchmarks/torch_baseline.py): a network for each pair of
tables, predicting noise, trained one after another; 1000 ancestral steps in Python, all networks of
a target in turn at each, their mean.

As published, networks see whitened latents and no covariates. The weights kept are those of the
least error on validation patients, or on training ones where nobody there has both tables.
"""

from __future__ import annotations

import copy
import types

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.rivals.protocol import Known, Patients
from benchmarks.torch_baseline import NormMLP, Trainer, published_loop
from cohgen_jax.runs.config import recipe
from cohgen_jax.schedule import linear_schedule

COMPONENTS = 32
STEPS = 2000
CHECKED = 200
"""Training steps between two looks at the validation patients."""
LEAST_PATIENTS = 10
SEED = 0


class Published:
    """Networks by (source, target), and the scale of the components."""

    space = "components"

    def __init__(self, known: Known) -> None:
        torch.manual_seed(SEED)
        self.known = known
        count = len(known.modalities)
        self.widths = [known.leading(m, COMPONENTS) for m in range(count)]
        self.scale = np.zeros((count, COMPONENTS), np.float32)
        for m, width in enumerate(self.widths):
            self.scale[m, :width] = known.patients.components[known.having(m), m, :width].std(
                axis=0
            )
        latents = types.SimpleNamespace(
            z=self._whitened(known.patients), present=known.patients.present
        )
        self.models = {
            (s, t): _trained(latents, known, s, t)
            for t in range(count)
            for s in range(count)
            if s != t
            and known.patients.present[known.train][:, [s, t]].all(axis=1).sum() >= LEAST_PATIENTS
        }

    def _whitened(self, patients: Patients) -> np.ndarray:
        z = np.zeros((*patients.components.shape[:2], COMPONENTS), np.float32)
        few = min(COMPONENTS, patients.components.shape[2])
        scale = self.scale[:, :few]
        z[..., :few] = np.where(
            scale > 0, patients.components[..., :few] / np.where(scale > 0, scale, 1), 0
        )
        return z

    def prepare(self, target: int, given: Patients) -> None:
        pass

    def draw(self, target: int, given: Patients, num_draws: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        z = self._whitened(given)
        drawn = np.zeros((num_draws, len(z), COMPONENTS), np.float32)
        sources = [s for s in range(z.shape[1]) if (s, target) in self.models]
        shown = given.present[:, sources]
        for pattern in np.unique(shown, axis=0):
            rows = np.flatnonzero((shown == pattern).all(axis=1))
            # Who has none of them is drawn by all of them, from nothing.
            used = [s for s, has in zip(sources, pattern, strict=True) if has] or sources
            conds = [[torch.tensor(np.tile(z[rows, s], (num_draws, 1)))] for s in used]
            x, _ = published_loop(
                [self.models[s, target] for s in used],
                conds,
                linear_schedule(),
                torch.randn(num_draws * len(rows), COMPONENTS),
            )
            drawn[:, rows] = x.numpy().reshape(num_draws, len(rows), COMPONENTS)
        return (drawn * self.scale[target])[..., : self.widths[target]]


def _trained(latents, known: Known, source: int, target: int) -> NormMLP:
    config = recipe("published").single
    spec = types.SimpleNamespace(target=target, sources=(source,))
    trainer = Trainer(latents, known.train, spec, config)
    both = latents.present[:, [source, target]].all(axis=1)
    rows = known.val[both[known.val]]
    rows = rows if len(rows) else known.train[both[known.train]]
    z = torch.tensor(latents.z[rows])
    best, kept = np.inf, copy.deepcopy(trainer.model.state_dict())
    for _ in range(STEPS // CHECKED):
        trainer.steps(CHECKED)
        error = _error(trainer, z[:, target], z[:, source])
        if error < best:
            best, kept = error, copy.deepcopy(trainer.model.state_dict())
    trainer.model.load_state_dict(kept)
    return trainer.model.eval()


@torch.no_grad()
def _error(trainer: Trainer, x_0: torch.Tensor, cond: torch.Tensor) -> float:
    """Mean square error of the predicted noise, at the same levels and noises every time."""
    trainer.model.eval()
    generator = torch.Generator().manual_seed(SEED)
    errors = []
    for level in torch.linspace(0, trainer.schedule.num_steps - 1, 20).long():
        eps = torch.randn(x_0.shape, generator=generator)
        alpha_bar = trainer.alpha_bar[level]
        x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps
        mask = torch.ones(len(x_0), 1)
        errors.append(F.mse_loss(trainer.model(x_t, level.repeat(len(x_0)), [cond], mask), eps))
    return float(torch.stack(errors).mean())


def fit(known: Known) -> Published:
    return Published(known)
