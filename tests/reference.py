"""The published sampler once more, in float64 NumPy: the network `mlp` and coherent sampling.

Written from the paper (Marchesi, Lazzaro et al., PLOS Comput Biol, 10.1371/journal.pcbi.1013455) as
one reads it, without any of the package's code. `python -m tests.reference` writes the vectors of
tests/golden/ anew; tests/test_golden_vectors.py says what holds them to the publication.
"""

import json
from pathlib import Path

import numpy as np

VECTORS = Path(__file__).parent / "golden" / "coherent_mlp.json"
CONFIG = {
    "initial_size": 5,
    "bottleneck_size": 2,
    "n_layers": 3,
    "time_embedding_dimension": 5,
    "cond_embedding_dim": 3,
    "architecture": "mlp",
    "x_dim": 3,
}
WIDTHS, LOSSES, STEPS, SAMPLES = (4, 2, 1), (0.7, 0.9, 1.4), 25, 4


def mlp(params, x, t, conds, masks=None):
    """The noise predicted in x [N, D] at level t [N]; PyTorch's names, weights (out, in)."""

    def linear(name, h):
        return h @ params[f"{name}.weight"].T.astype(float) + params[f"{name}.bias"]

    dim = params["time_embedding_dense.weight"].shape[1]
    frequency = np.exp(-np.arange(dim // 2) * np.log(10000.0) / (dim // 2 - 1))
    angle = np.asarray(t, float)[:, None] * frequency
    embedding = np.concatenate([np.sin(angle), np.cos(angle), np.zeros((len(x), dim % 2))], axis=1)
    h = [x, np.maximum(linear("time_embedding_dense", embedding), 0)]
    for i, cond in enumerate(conds):
        embedded = np.maximum(linear(f"cond_embeddings.{i}", cond), 0)
        h.append(embedded if masks is None else embedded * masks[i][:, None])
    h = np.concatenate(h, axis=1)
    last = sum(name.startswith("mlp_layers") for name in params) // 2 - 1
    for i in range(last):
        h = np.maximum(linear(f"mlp_layers.{i}", h), 0)
    return linear(f"mlp_layers.{last}", h)


def coherent(models, conds, weights, initial, noise):
    """(samples [N, D], disagreement [N, T]): ancestral steps t = T-1 .. 0, driven by the weighted
    mean of the models' predictions. noise: [T-1, N, D], none at t = 0, where nothing is divided by
    sqrt(alpha_0) in the published code."""
    beta = np.linspace(1e-4, 2e-2, len(noise) + 1)
    alpha_bar = np.cumprod(1 - beta)
    x, disagreement = initial.astype(float), []
    pairs = [(i, j) for j in range(len(models)) for i in range(j)]
    for t in reversed(range(len(beta))):
        level = np.full(len(x), t)
        eps = np.stack([mlp(p, x, level, [c]) for p, c in zip(models, conds, strict=True)])
        unit = eps / np.linalg.norm(eps, axis=-1, keepdims=True)
        cosines = np.array([(unit[i] * unit[j]).sum(axis=-1) for i, j in pairs])
        share = np.array([weights[i] + weights[j] for i, j in pairs])
        disagreement.append(1 - share @ cosines / share.sum())
        mean = x - beta[t] / np.sqrt(1 - alpha_bar[t]) * np.tensordot(weights, eps, 1)
        x = mean if t == 0 else mean / np.sqrt(1 - beta[t]) + np.sqrt(beta[t]) * noise[-t]
    return x, np.stack(disagreement, axis=1)


def loss_weights(losses):
    weights = np.exp(1 / np.asarray(losses, float))
    return weights / weights.sum()


def inputs():
    """(models, conditions, initial noise, noise of the steps) of the vectors, from a generator
    whose stream NumPy keeps for ever."""
    rng = np.random.RandomState(2025)
    dims, hidden = CONFIG["x_dim"], CONFIG["initial_size"]
    time, cond = CONFIG["time_embedding_dimension"], CONFIG["cond_embedding_dim"]

    def model(width):
        sizes = {"cond_embeddings.0": (cond, width), "time_embedding_dense": (time, time)}
        sizes |= {"mlp_layers.0": (hidden, dims + time + cond), "mlp_layers.1": (hidden, hidden)}
        sizes |= {"mlp_layers.2": (dims, hidden)}
        params = {}
        for name, shape in sizes.items():
            params[f"{name}.weight"] = rng.normal(size=shape) / np.sqrt(shape[1])
            params[f"{name}.bias"] = 0.1 * rng.normal(size=shape[0])
        return {name: values.astype(np.float32) for name, values in params.items()}

    models = [model(width) for width in WIDTHS]
    drawn = [(SAMPLES, width) for width in WIDTHS]
    drawn += [(SAMPLES, dims), (STEPS - 1, SAMPLES, dims)]
    *conds, initial, noise = (rng.normal(size=shape).astype(np.float32) for shape in drawn)
    return models, conds, initial, noise


def vectors():
    """What tests/golden/coherent_mlp.json holds."""
    models, conds, initial, noise = inputs()
    found = {}
    for rule, weights in (("mean", np.full(3, 1 / 3)), ("loss", loss_weights(LOSSES))):
        samples, disagreement = coherent(models, conds, weights, initial, noise)
        found[rule] = {"samples": samples.tolist(), "disagreement": disagreement[:, ::6].tolist()}
    t = np.array([0, 7, 19, 24])
    return {
        "origin": "tests/reference.py, which reproduces what the published PyTorch code computes",
        "eps": mlp(models[0], initial, t, conds[:1]).tolist(),
        **found,
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
