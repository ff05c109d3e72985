"""Engression (Shen & Meinshausen, arXiv:2307.00835), as its authors' library trains it.

Model   c = g(x, eps), a network with noise eps ~ N(0, I) as input of every layer; c the leading
        principal components of the outcomes in their own scale, the rest as components.py has it
Fit     the energy score of two draws, E||c - g|| - E||g - g'|| / 2, which is least for the true
        distribution; MEMBERS networks, each with another tenth of the patients to stop by
Draw    of one member after the other
Cost    MEMBERS networks for each target and pattern of sources: an hour or more for four
        modalities on a CPU

The optional extra `benchmarks` has engression; without it, `missing` says what is not there.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from cohgen_jax.baselines.components import COMPONENTS, fit_rest
from cohgen_jax.baselines.optional import why_missing
from cohgen_jax.baselines.patterns import Fitted
from cohgen_jax.errors import InputError

MEMBERS = 4
LAYERS = 3
HIDDEN = 256
NOISE = 64
BATCH = 256
STEPS = 1000
"""Of the optimiser; the weights kept are those of the best score of the held out before."""
LEARNING_RATE = 1e-3
HELD_OUT = 10
"""Every tenth patient, others for each member."""

missing = functools.partial(why_missing, "engression")


def engression(x: np.ndarray, y: np.ndarray) -> Fitted:
    """Leaves torch's random state alone.

    Raises:
      InputError: engression is not there.
    """
    reason = missing()
    if reason:
        raise InputError(f"no engression: {reason}")
    import torch
    from sklearn.utils.extmath import randomized_svd

    few = min(COMPONENTS, y.shape[1], len(y) // 3)
    centred = y - y.mean(axis=0)
    scores, sizes, _ = randomized_svd(centred, few, random_state=0)
    unit = np.sqrt(np.sum(sizes**2) / len(y) / few) or 1.0
    components = (scores * (sizes / unit)).astype(np.float32)
    rest = fit_rest(components, y)
    mean, size = x.mean(axis=0), x.std() or 1.0

    def inputs(values: np.ndarray) -> Any:
        return torch.as_tensor(((values - mean) / size).astype(np.float32))

    with torch.random.fork_rng():
        members = [_member(k, inputs(x), torch.as_tensor(components)) for k in range(MEMBERS)]

    def draw(x_new: np.ndarray, u: np.ndarray) -> np.ndarray:
        drawn = np.empty((*u.shape, few), np.float32)
        each = -(-len(u) // MEMBERS)
        # A patient's own seed: its draws do not depend on who comes along.
        seeds = (u[0] * 2**53).astype(int)
        with torch.random.fork_rng(), torch.inference_mode():
            for k, member in enumerate(members):
                turns = range(k, len(u), MEMBERS)
                for n, (row, seed) in enumerate(zip(inputs(x_new), seeds, strict=True)):
                    torch.manual_seed(int(seed) + k)
                    samples = member.sample(row[None].repeat(each, 1), 1).cpu().numpy()
                    drawn[turns, n] = samples[: len(turns)]
        # Other numbers than the seed is made of.
        return rest.draw(drawn, u * 2**20 % 1)

    return Fitted(draw)


def _member(number: int, x: Any, components: Any) -> Any:
    """One trained network."""
    import torch
    from engression import engression as train

    torch.manual_seed(number)
    held = torch.arange(len(x)) % HELD_OUT == number
    return train(
        x[~held],
        components[~held],
        num_layer=LAYERS,
        hidden_dim=HIDDEN,
        noise_dim=NOISE,
        lr=LEARNING_RATE,
        num_epochs=max(1, STEPS * BATCH // max(int((~held).sum()), BATCH)),
        batch_size=BATCH,
        standardize=False,
        device="cuda" if torch.cuda.is_available() else "cpu",
        verbose=False,
        x_val=x[held],
        y_val=components[held],
    )
