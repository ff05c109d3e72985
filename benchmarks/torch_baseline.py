"""The published sampling loop and trainer in plain eager PyTorch, to time the library against.

Written for this benchmark from the description of the method: 1000 steps in Python, every model
called in turn at every step, disagreement of all pairs, ancestral update (Ho et al. 2020, alg. 2).
The network is norm_mlp, the one that the published search uses. Weights come from the library's
models, so that both compute the same numbers; `python -m benchmarks.torch_baseline` checks that.

Needs the extra `benchmarks` (PyTorch, CPU or CUDA).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from cohgen_jax.networks import NetworkConfig
from cohgen_jax.schedule import Schedule, linear_schedule


class NormMLP(torch.nn.Module):
    """[x_t, time, cond] -> (Linear, BatchNorm, ReLU, concatenate time) x (L-1) -> Linear."""

    def __init__(self, config: NetworkConfig, x_dim: int, cond_dims: Sequence[int]):
        super().__init__()
        self.time_dim = config.time_embedding
        self.time = torch.nn.Linear(self.time_dim, self.time_dim)
        self.conds = torch.nn.ModuleList(
            torch.nn.Linear(width, config.cond_embedding) for width in cond_dims
        )
        layers, norms = [], []
        width = x_dim + self.time_dim + config.cond_embedding * len(cond_dims)
        for _ in range(config.num_layers - 1):
            layers.append(torch.nn.Linear(width, config.width))
            norms.append(torch.nn.BatchNorm1d(config.width))
            width = config.width + self.time_dim
        layers.append(torch.nn.Linear(width, x_dim))
        self.layers, self.norms = torch.nn.ModuleList(layers), torch.nn.ModuleList(norms)

    def forward(
        self,
        x: torch.Tensor,
        t: torch.Tensor,
        conds: Sequence[torch.Tensor],
        mask: torch.Tensor | None = None,
    ):
        half = self.time_dim // 2
        frequency = torch.exp(
            torch.arange(half, device=x.device) * (-math.log(10000.0) / (half - 1))
        )
        angle = t[:, None].float() * frequency[None]
        time = F.relu(self.time(torch.cat([angle.sin(), angle.cos()], dim=-1)))
        embedded = [F.relu(layer(cond)) for layer, cond in zip(self.conds, conds, strict=True)]
        if mask is not None:
            embedded = [h * mask[:, i, None] for i, h in enumerate(embedded)]
        h = torch.cat([x, time, *embedded], dim=-1)
        for layer, norm in zip(self.layers[:-1], self.norms, strict=True):
            h = torch.cat([F.relu(norm(layer(h))), time], dim=-1)
        return self.layers[-1](h)


def from_variables(module, variables: Mapping) -> NormMLP:
    """The PyTorch network with the weights of a library norm_mlp."""
    model = NormMLP(module.config, module.x_dim, module.cond_dims)
    params = variables["params"]

    def copy(layer: torch.nn.Linear, name: str) -> None:
        layer.weight.copy_(torch.tensor(np.array(params[name]["kernel"]).T))
        layer.bias.copy_(torch.tensor(np.array(params[name]["bias"])))

    with torch.no_grad():
        copy(model.time, "time_embedding_dense")
        for i, layer in enumerate(model.conds):
            copy(layer, f"cond_embeddings_{i}")
        for i, layer in enumerate(model.layers):
            copy(layer, f"mlp_layers_{i}")
        for i, norm in enumerate(model.norms):
            stats = variables["batch_stats"][f"bn_layers_{i}"]
            for ours, array in (
                (norm.weight, params[f"bn_layers_{i}"]["scale"]),
                (norm.bias, params[f"bn_layers_{i}"]["bias"]),
                (norm.running_mean, stats["mean"]),
                (norm.running_var, stats["var"]),
            ):
                ours.copy_(torch.tensor(np.array(array)))
    return model.eval()


class Trainer:
    """The published training of one model: norm_mlp, Adam, noise prediction, batches in Python.

    A multi-condition model hides 0 .. C-1 of its C conditions, the number drawn first.
    """

    def __init__(self, latents, train_rows: np.ndarray, spec, config):
        self.spec, self.config = spec, config
        usable = latents.present[train_rows, spec.target] & latents.present[train_rows][
            :, list(spec.sources)
        ].any(axis=1)
        z = torch.tensor(latents.z[train_rows[usable]])
        self.x_0 = z[:, spec.target]
        self.conds = [z[:, s] for s in spec.sources]
        self.mask = torch.tensor(
            latents.present[train_rows[usable]][:, list(spec.sources)], dtype=torch.float32
        )
        dim = z.shape[2]
        self.model = NormMLP(config.network, dim, [dim] * len(spec.sources))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.schedule = linear_schedule()
        self.alpha_bar = torch.tensor(self.schedule.alpha_bar, dtype=torch.float32)
        self.order = torch.randperm(len(self.x_0))
        self.place = 0

    def steps(self, num: int) -> None:
        """Train on the next batches; the patients are shuffled when all have been seen."""
        self.model.train()
        for _ in range(num):
            if self.place + self.config.batch_size > len(self.order):
                self.order, self.place = torch.randperm(len(self.x_0)), 0
            row = self.order[self.place : self.place + self.config.batch_size]
            self.place += self.config.batch_size
            x_0, mask = self.x_0[row], self.mask[row]
            if len(self.conds) > 1:
                rank = torch.rand_like(mask).argsort(dim=1).argsort(dim=1)
                mask = mask * (rank >= torch.randint(len(self.conds), (len(row), 1)))
            t = torch.randint(self.schedule.num_steps, (len(row),))
            eps = torch.randn_like(x_0)
            alpha_bar = self.alpha_bar[t][:, None]
            x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps
            conds = [cond[row] for cond in self.conds]
            loss = F.mse_loss(self.model(x_t, t, conds, mask), eps)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self._wait()

    def generate(self, latents, val_rows: np.ndarray, num_steps: int) -> None:
        """The first steps of generating the validation patients; a validation takes all."""
        self.model.eval()
        conds = [torch.tensor(latents.z[val_rows, s]) for s in self.spec.sources]
        levels = list(reversed(range(self.schedule.num_steps)))[:num_steps]
        published_loop(
            [self.model], [conds], self.schedule, torch.randn_like(conds[0]), timesteps=levels
        )
        self._wait()

    def _wait(self) -> None:
        if self.x_0.is_cuda:
            torch.cuda.synchronize()

    def variables(self, module) -> dict:
        """The weights as variables of the library's norm_mlp; inverse of `from_variables`."""
        model = self.model

        def on_host(array: torch.Tensor) -> np.ndarray:
            return array.detach().cpu().numpy().copy()

        def linear(layer: torch.nn.Linear) -> dict:
            return {"kernel": on_host(layer.weight).T.copy(), "bias": on_host(layer.bias)}

        params = {"time_embedding_dense": linear(model.time)}
        stats = {}
        for i, layer in enumerate(model.conds):
            params[f"cond_embeddings_{i}"] = linear(layer)
        for i, layer in enumerate(model.layers):
            params[f"mlp_layers_{i}"] = linear(layer)
        for i, norm in enumerate(model.norms):
            params[f"bn_layers_{i}"] = {"scale": on_host(norm.weight), "bias": on_host(norm.bias)}
            mean, var = norm.running_mean, norm.running_var
            assert mean is not None
            assert var is not None
            stats[f"bn_layers_{i}"] = {"mean": on_host(mean), "var": on_host(var)}
        return {"params": params, "batch_stats": stats}


@torch.no_grad()
def published_loop(
    models: Sequence[NormMLP],
    conds: Sequence[Sequence[torch.Tensor]],
    schedule: Schedule,
    x: torch.Tensor,
    noise=torch.randn_like,
    timesteps: Sequence[int] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One repeat: samples [N, D] and the disagreement of every step [N, S].

    conds: for each model its conditions. timesteps: all levels by default; fewer to time part of
    a chain (the update is then that of consecutive levels all the same).
    """
    beta = torch.tensor(schedule.beta, dtype=torch.float32, device=x.device)
    alpha_bar = torch.tensor(schedule.alpha_bar, dtype=torch.float32, device=x.device)
    trajectory = []
    for t in reversed(range(schedule.num_steps)) if timesteps is None else timesteps:
        steps = torch.full((len(x),), t, device=x.device, dtype=torch.long)
        eps_k = [model(x, steps, cond) for model, cond in zip(models, conds, strict=True)]
        eps = torch.stack(eps_k).mean(dim=0)
        cosines = [F.cosine_similarity(a, b) for a, b in itertools.combinations(eps_k, 2)]
        disagreement = 1 - torch.stack(cosines).mean(dim=0) if cosines else torch.ones_like(x[:, 0])
        trajectory.append(disagreement)
        mean = x - beta[t] / torch.sqrt(1 - alpha_bar[t]) * eps
        if t > 0:
            x = mean / torch.sqrt(1 - beta[t]) + torch.sqrt(beta[t]) * noise(x)
        else:
            x = mean
    return x, torch.stack(trajectory, dim=1)


def check() -> float:
    """Largest difference between this loop and the library's sampler on the same noise."""
    import jax
    import jax.numpy as jnp

    from cohgen_jax.networks import build, init
    from cohgen_jax.sampling import Bank, RecordedNoise, coherent_sample
    from cohgen_jax.solvers import ddpm

    schedule = linear_schedule(50)
    module = build(NetworkConfig(architecture="norm_mlp", width=32, num_layers=4), 6, (6,))
    variables = [init(module, jax.random.key(k)) for k in range(3)]
    bank = Bank.from_models("t", ["a", "b", "c"], [(module, v) for v in variables])
    rng = np.random.default_rng(0)
    conds = rng.normal(size=(3, 10, 6)).astype(np.float32)
    noise = rng.normal(size=(51, 10, 6)).astype(np.float32)
    ours = coherent_sample(
        jax.random.key(0),
        bank,
        conds,
        solver=ddpm(schedule, published_last_step=True),
        keep_trajectory=True,
        recorded=RecordedNoise(jnp.asarray(noise[:1]), jnp.asarray(noise[1:, None])),
    )
    drawn = iter(noise[1:])
    published, trajectory = published_loop(
        [from_variables(module, v) for v in variables],
        [[torch.tensor(cond)] for cond in conds],
        schedule,
        torch.tensor(noise[0]),
        lambda x: torch.tensor(next(drawn)),
    )
    assert ours.trajectory is not None
    return max(
        float(np.abs(np.asarray(ours.draws[0]) - published.numpy()).max()),
        float(np.abs(np.asarray(ours.trajectory[0]) - trajectory.numpy()).max()),
    )


if __name__ == "__main__":
    print(f"largest difference from the library: {check():.1e}")
