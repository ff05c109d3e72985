"""What makes training reach quality sooner: variants of the recipe on the latents of a real run.

    python -m benchmarks.recipe_study --run runs/tcga
    python -m benchmarks.recipe_study --run runs/tcga --only "batch 64"   # one group
    python -m benchmarks.recipe_study --run runs/tcga --only regularisation --epochs 60 \
        --targets cna rna rppa wsi --kind single --out benchmarks/regularisation_study.json

Each variant trains the same models from the same random streams, so that differences are paired.
Variants that share a shape train as one farm. Written after each farm: validation energy score by
epoch, samples seen, and seconds of processor time (one core, compilation apart).
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import tyro

from cohgen_jax.runs.config import recipe
from cohgen_jax.runs.prepare import read_latents
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training import DiffusionConfig, ModelSpec, TrainConfig, make_farm
from cohgen_jax.training.farm import init_state, train_epoch, validate

LARGE = {"batch_size": 128, "learning_rate": 3e-3, "weight_decay": 1.0, "cond_noise": 0.5}
GROUPS: dict[str, dict[str, dict]] = {
    "numbers": {
        "base": LARGE,
        "learning_rate 5e-3": {**LARGE, "learning_rate": 5e-3},
        "ema 0.98": {**LARGE, "ema_decay": 0.98},
        "min_snr": {**LARGE, "level_weight": "min_snr"},
        "log_normal": {**LARGE, "level_density": "log_normal"},
        "cond_noise 0.25": {**LARGE, "cond_noise": 0.25},
        "weight_decay 0.3": {**LARGE, "weight_decay": 0.3},
    },
    "straight paths": {
        "default": {},
        "straight paths": {"level_weight": "straight", "level_density": "straight"},
    },
    "width 128": {"width 128": {**LARGE, "width": 128}},
    "2 x epochs": {"2 x epochs": {**LARGE, "epochs_factor": 2}},
    "2 layers": {"2 layers": {**LARGE, "num_layers": 2}},
    "dropout 0.2": {"dropout 0.2": {**LARGE, "dropout": 0.2}},
    "width 128, 2 x epochs": {"width 128, 2 x epochs": {**LARGE, "width": 128, "epochs_factor": 2}},
    "batch 64": {"batch 64": {**LARGE, "batch_size": 64, "learning_rate": 2e-3}},
    "any levels": {"any levels": {**LARGE, "stratified": False}},
    "constant rate": {"constant rate": {**LARGE, "lr_schedule": "constant"}},
    "eps": {
        "eps": {**LARGE, "predicts": "eps"},
        "eps, min_snr": {**LARGE, "predicts": "eps", "level_weight": "min_snr"},
    },
    "regularisation": {
        f"weight_decay {decay}, cond_noise {noise}": {
            **LARGE,
            "learning_rate": 2e-3,
            "weight_decay": float(decay),
            "cond_noise": noise,
        }
        for decay in (1, 2)
        for noise in (0.5, 0.25, 0.1)
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Variants of the recipe on real latents."""

    run: Path
    """A run directory whose latents are used."""
    out: Path = Path(__file__).with_suffix(".json")
    targets: tuple[str, ...] = ("rna", "rppa")
    kind: str = "multi"
    epochs: int = 40
    validate_every: int = 10
    seeds: tuple[int, ...] = (0,)
    only: tuple[str, ...] = ()
    """Groups of variants; all when empty."""


def main(arguments: Arguments) -> None:
    latents, samples = read_latents(arguments.run)
    split = samples["split"].to_numpy()
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name, group in GROUPS.items():
        if arguments.only and name not in arguments.only:
            continue
        for seed in arguments.seeds:
            for variant, result in study(arguments, latents, split, group, seed).items():
                results[f"{arguments.kind} | {variant} | seed {seed}"] = result
                print(variant, seed, {m: min(e) for m, e in result["energy"].items()}, flush=True)
            arguments.out.write_text(json.dumps(results, indent=1) + "\n")


def study(arguments: Arguments, latents, split: np.ndarray, group: dict, seed: int) -> dict:
    """Train one group of variants as a farm: variant -> what was measured."""
    names = latents.modalities
    targets = [names.index(target) for target in arguments.targets]
    everything = range(len(names))
    if arguments.kind == "multi":
        pairs = [(t, tuple(s for s in everything if s != t)) for t in targets]
    else:
        pairs = [(t, (s,)) for t in targets for s in everything if s != t]
    specs, configs, diffusion = [], [], DiffusionConfig()
    base = getattr(recipe("default"), arguments.kind)
    for changes in group.values():
        config, predicts = changed(base, changes, arguments)
        diffusion = DiffusionConfig(predicts=predicts)
        for t, sources in pairs:
            label = names[sources[0]] if len(sources) == 1 else "multi"
            specs.append(ModelSpec(f"{names[t]}_from_{label}", t, sources))
            configs.append(config)
    farm, data = make_farm(
        specs,
        latents.z,
        latents.present,
        latents.widths.tolist(),
        np.flatnonzero(split == "train"),
        np.flatnonzero(split == "val"),
        configs,
        diffusion,
        seed,
    )
    state = init_state(data, farm=farm)
    energies, epochs, seconds = [], [], []
    while int(state.epoch) < farm.config.num_epochs:
        began = time.process_time()
        for _ in range(arguments.validate_every):
            state, _ = train_epoch(state, data, farm=farm)
        jax.block_until_ready(state)
        seconds.append(time.process_time() - began)
        state, scores = validate(state, data, farm=farm)
        energies.append(np.asarray(scores["energy"]).tolist())
        epochs.append(int(state.epoch))
    result = {}
    for v, variant in enumerate(group):
        of_variant = range(v * len(pairs), (v + 1) * len(pairs))
        result[variant] = {
            "epochs": epochs,
            "samples": [e * farm.steps_per_epoch * farm.config.batch_size for e in epochs],
            # The first block holds the compilation; the others say what a block costs.
            "seconds_per_model_epoch": float(
                np.median(seconds[1:]) / arguments.validate_every / len(specs)
            ),
            "energy": {specs[k].name: [e[k] for e in energies] for k in of_variant},
        }
    return result


def changed(base: TrainConfig, changes: dict, arguments: Arguments) -> tuple[TrainConfig, str]:
    changes = dict(changes)
    predicts = changes.pop("predicts", "v")
    epochs = arguments.epochs * changes.pop("epochs_factor", 1)
    shape = {k: changes.pop(k) for k in ("dropout", "width", "num_layers") if k in changes}
    solver = SolverConfig(num_steps=15)
    if predicts == "v":
        solver = SolverConfig(num_steps=10, eta=0.0, grid="log_snr")
    return (
        dataclasses.replace(
            base,
            network=dataclasses.replace(base.network, **shape),
            num_epochs=epochs,
            validate_every=arguments.validate_every,
            val_solver=solver,
            val_draws=6,
            patience=0,
            **changes,
        ),
        predicts,
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
