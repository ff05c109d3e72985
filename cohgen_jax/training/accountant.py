"""What DP-SGD is worth, by Google's `dp_accounting`.

One step of a model takes each of its n records with chance q = min(1, batch_size / n), on its own,
and no more than there are places in a batch, clips their gradients to C and adds Gaussian noise of
sigma C to the sum: a Poisson-sampled, truncated Gaussian mechanism of sensitivity C (Ganesh et al.
2025, arXiv:2508.15089). Steps and models compose by their privacy loss distributions (Koskela et
al. 2020, arXiv:1906.03049), which are tighter than Renyi divergences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cohgen_jax.errors import need
from cohgen_jax.training.config import TrainConfig

DELTA = 1e-5
"""At which epsilon is told; well below one over the number of patients."""
MEANING = (
    "epsilon bounds what the denoisers, of each kind or together, say about one training record, "
    "added or removed; the number of records is taken to be known. Not covered: the codecs and the "
    "scale of the latents, fitted on training patients; the losses of training that are logged; "
    "validation patients, who choose the weights that are kept and fit the stacked consensus; a "
    "patient with several records; kinds of model that are not named here."
)


def check_accountant() -> None:
    """Refuse, before any work, where the library that accounts is not installed."""
    need("differential privacy (dp_noise_multiplier)", "privacy", "dp_accounting")


def spend(config: TrainConfig, num_rows: Sequence[int], steps_per_epoch: int) -> Any:
    """The `DpEvent` of training models on so many records each (`num_rows` [K]), for a record that
    is among all of them. Every epoch of the configuration counts: stopping early spends less."""
    import dp_accounting as dp

    steps = config.num_epochs * steps_per_epoch
    return dp.ComposedDpEvent(
        [
            dp.SelfComposedDpEvent(
                dp.TruncatedSubsampledGaussianDpEvent(
                    dataset_size=n,
                    sampling_probability=min(1.0, config.batch_size / n),
                    truncated_batch_size=config.places,
                    noise_multiplier=config.dp_noise_multiplier,
                ),
                steps * count,
            )
            for n, count in sorted(Counter(num_rows).items())
        ]
    )


def epsilon(event: Any, delta: float = DELTA) -> float:
    """The least epsilon, at this delta, of a `DpEvent`; a record is added or removed."""
    from dp_accounting.pld import PLDAccountant

    return float(PLDAccountant().compose(event).get_epsilon(delta))


def statement(spent: Mapping[str, Any], delta: float = DELTA) -> dict[str, Any]:
    """epsilon of each kind of model (its `DpEvent`), and of all together."""
    import dp_accounting as dp

    together = dp.ComposedDpEvent(list(spent.values()))
    kinds = spent if len(spent) == 1 else {**spent, "together": together}
    worth = {kind: {"epsilon": epsilon(event, delta)} for kind, event in kinds.items()}
    worth.setdefault("together", next(iter(worth.values())))
    return {"delta": delta, **worth, "meaning": MEANING}
