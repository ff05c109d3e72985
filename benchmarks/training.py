"""How fast models train, beside the published trainer in eager PyTorch, interleaved.

    python -m benchmarks.training --run runs/tcga            some ten minutes on 2 cores
    python -m benchmarks.training --run runs/tcga --quick    two minutes; nothing is kept
    python -m benchmarks.training --run runs/tcga --parts models scaling

score     time of the 16 models to the published recipe's best validation energy score
models    training examples a second for 1 to 64 models of one farm; compilation; peak memory
overhead  a step beside the matrix products that it consists of, at width 512
scaling   1 to 8 forced host devices: strong (16 models) and weak (2 models a device)

The latents are those of --run; part `score` takes the leading 32 of each modality, without
covariates, as the published trainer has them. Medians; compilation apart. Results go to
training.json and the README. What `score` extrapolates is named in its result: each trainer is
timed for single epochs and trained for real on a few of the 16 models; seconds an epoch times
epochs to the score.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import jax
import jax.numpy as jnp
import numpy as np

from cohgen_jax.runs.config import recipe
from cohgen_jax.runs.prepare import read_latents
from cohgen_jax.solvers import SolverConfig
from cohgen_jax.training import DiffusionConfig, make_farm, multi_specs, pair_specs
from cohgen_jax.training.config import MeshConfig, TrainConfig
from cohgen_jax.training.farm import fresh_state, init_state, share_out, train_epoch, validate
from cohgen_jax.training.mesh import make_mesh

RESULT = Path(__file__).with_suffix(".json")
EPS = DiffusionConfig(predicts="eps")
JUDGED = SolverConfig(num_steps=15)
"""Both trainers' models are judged by draws of the same stochastic solver, as cheap for both."""
LEARNT = {"single": ("rna_from_cna",), "multi": ("rna_from_multi",)}
"""Models that are trained for real in part `score`."""


class Cohort:
    def __init__(self, run: Path):
        self.latents, samples = read_latents(run)
        split = samples["split"].to_numpy()
        self.train, self.val = (np.flatnonzero(split == side) for side in ("train", "val"))

    def as_published(self) -> Cohort:
        """With what the published trainer knows: the leading latents, as many as the published
        autoencoders have, and no covariates."""
        known, latents = copy.copy(self), self.latents
        num, dim = len(latents.modalities), recipe("published").codec.latent_dim
        known.latents = latents._replace(
            z=latents.z[:, :num, :dim], widths=np.minimum(latents.widths[:num], dim)
        )
        return known

    def specs(self, kind: str, names: tuple[str, ...] = ()) -> list:
        make = {"single": pair_specs, "multi": multi_specs}[kind]
        return [s for s in make(self.latents.modalities) if not names or s.name in names]

    def farm(self, specs, config: TrainConfig, diffusion=DiffusionConfig()):
        lat = self.latents
        widths = lat.widths.tolist()
        return make_farm(
            specs, lat.z, lat.present, widths, self.train, self.val, config, diffusion, 0
        )


def seconds_of(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_seconds(work, repeats: int) -> float:
    return statistics.median(seconds_of(work) for _ in range(repeats))


class Steps:
    """A farm that takes `num` training steps a call; the first call compiles."""

    def __init__(
        self, cohort: Cohort, specs, config: TrainConfig, num: int, diffusion=DiffusionConfig()
    ):
        farm, data = cohort.farm(specs, config, diffusion)
        self.farm = dataclasses.replace(farm, steps_per_epoch=num)
        mesh = make_mesh(MeshConfig(), len(specs), config.batch_size)
        like, self.data = share_out(data, farm=self.farm, mesh=mesh)
        self.state = fresh_state(self.data, like, farm=self.farm)
        self.compile_seconds = seconds_of(self)

    def __call__(self) -> None:
        self.state, _ = train_epoch(self.state, self.data, farm=self.farm)
        jax.block_until_ready(self.state)


def models_part(cohort: Cohort, quick: bool) -> list[dict]:
    """Examples a second, all models together, beside the PyTorch trainer, one model at a time."""
    from benchmarks.torch_baseline import Trainer

    config = dataclasses.replace(recipe("default").single, members=1, batch_size=64)
    published = recipe("published").single
    specs, num = cohort.specs("single"), 4 if quick else 8
    torch_trainer = Trainer(cohort.latents, cohort.train, specs[0], published)
    rows = []
    for count in (1, 4) if quick else (1, 2, 4, 8, 16, 32, 64):
        chosen = [specs[i % len(specs)] for i in range(count)]
        ours = Steps(cohort, chosen, config, num)
        same = Steps(cohort, chosen, published, num, EPS) if count in (1, 4, 16) else None
        seconds = {"ours": [], "same": [], "torch": []}
        for _ in range(3 if quick else 5):
            seconds["torch"].append(median_seconds(lambda: torch_trainer.steps(num), 1) / num)
            seconds["ours"].append(median_seconds(ours, 1) / num)
            if same:
                seconds["same"].append(median_seconds(same, 1) / num)
        median = {k: statistics.median(v) for k, v in seconds.items() if v}
        rows.append(
            {
                "models": count,
                "ms_per_model": 1e3 * median["ours"] / count,
                "samples_per_s": count * config.batch_size / median["ours"],
                "published_network_ms_per_model": 1e3 * median["same"] / count if same else None,
                "torch_ms_per_model": 1e3 * median["torch"],
                "compile_s": ours.compile_seconds,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
        print(rows[-1], flush=True)
    return rows


def overhead_part(cohort: Cohort, quick: bool) -> list[dict]:
    """A training step beside its matrix products alone: forward, and twice backward."""
    rows = []
    default = recipe("default").single
    networks = {
        "adaln_mlp 512 x 3": (dataclasses.replace(default.network, width=512), default),
        "norm_mlp 512 x 4": (recipe("published").single.network, recipe("published").single),
    }
    for name, (network, base) in networks.items():
        for batch in (64,) if quick else (64, 128, 256):
            config = dataclasses.replace(base, network=network, batch_size=batch, members=1)
            steps = Steps(cohort, cohort.specs("single")[:4], config, 4)
            kernels = [
                jnp.array(leaf)  # the state's own go with its next step
                for leaf in jax.tree.leaves(steps.state.variables["params"])
                if leaf.ndim == 3
            ]
            rng = np.random.default_rng(0)

            def normal(*shape, rng=rng):
                return jnp.asarray(rng.normal(size=shape), jnp.float32)

            inputs = [normal(4, batch, k.shape[1]) for k in kernels]
            grads = [normal(4, batch, k.shape[2]) for k in kernels]
            jitted = jax.jit(_products)

            def products(jitted=jitted, inputs=inputs, kernels=kernels, grads=grads) -> None:
                jax.block_until_ready(jitted(inputs, kernels, grads))

            products()
            pure, whole = [], []
            for _ in range(3 if quick else 7):
                pure.append(median_seconds(products, 4))
                whole.append(median_seconds(steps, 1) / 4)
            a, b = statistics.median(pure), statistics.median(whole)
            rows.append(
                {
                    "network": name,
                    "batch_size": batch,
                    "models": 4,
                    "products_ms": 1e3 * a,
                    "step_ms": 1e3 * b,
                    "overhead": b / a - 1,
                }
            )
            print(rows[-1], flush=True)
    return rows


def _products(inputs, kernels, grads):
    forward = [jnp.einsum("kbi,kio->kbo", x, w) for x, w in zip(inputs, kernels, strict=True)]
    to_input = [jnp.einsum("kbo,kio->kbi", g, w) for g, w in zip(grads, kernels, strict=True)]
    to_kernel = [jnp.einsum("kbi,kbo->kio", x, g) for x, g in zip(inputs, grads, strict=True)]
    return forward, to_input, to_kernel


def scaling_part(cohort: Cohort, quick: bool, run: Path) -> list[dict]:
    """Each number of devices in a process of its own."""
    rows = []
    for devices in (1, 2) if quick else (1, 2, 4, 8):
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        command = [
            sys.executable,
            "-m",
            "benchmarks.training",
            "--run",
            str(run),
            "--worker",
            str(devices),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    return rows


def scaling_worker(cohort: Cohort, devices: int) -> None:
    config = dataclasses.replace(recipe("default").single, members=1)
    specs = cohort.specs("single")
    row: dict = {"devices": devices}
    for name, count in (("strong", 16), ("weak", 2 * devices)):
        steps = Steps(cohort, [specs[i % len(specs)] for i in range(count)], config, 4)
        assert len(steps.state.active.devices()) == devices
        row[f"{name}_models"] = count
        row[f"{name}_ms_per_model"] = 1e3 * median_seconds(steps, 5) / 4 / count
    print(json.dumps(row))


def score_part(cohort: Cohort, quick: bool) -> dict:
    """Epochs to the score from real training of LEARNT, seconds an epoch from all 16."""
    from benchmarks.torch_baseline import Trainer

    cohort = cohort.as_published()
    published, default = recipe("published"), recipe("default")
    every, most, ours_most = (5, 10, 10) if quick else (20, 160, 60)
    result: dict = {"models": [], "kinds": {}, "baseline_epochs_trained": most}
    for kind, names in LEARNT.items():
        base = dataclasses.replace(getattr(published, kind), val_solver=JUDGED, val_draws=6)
        ours = dataclasses.replace(
            getattr(default, kind), members=1, val_solver=JUDGED, val_draws=6, patience=0
        )
        specs, every_spec = cohort.specs(kind, names), cohort.specs(kind)
        # The baseline: its learning curve is that of its own weights, judged as ours are.
        farm, data = cohort.farm(specs, base, EPS)
        trainers = [Trainer(cohort.latents, cohort.train, spec, base) for spec in specs]
        torch_steps, curve = farm.steps_per_epoch, []
        for epoch in range(1, most + 1):
            for trainer in trainers:
                trainer.steps(torch_steps)
            if epoch % every == 0:
                state = init_state(data, farm=farm)
                average = jax.tree.map(
                    lambda *leaves: jnp.asarray(np.stack(leaves)),
                    *(trainer.variables(farm.module) for trainer in trainers),
                )
                _, scores = validate(state._replace(average=average), data, farm=farm)
                curve.append(np.asarray(scores["energy"]).tolist())
        best = np.min(curve, axis=0)
        epochs_to_best = [
            every * (int(np.argmin([row[m] for row in curve])) + 1) for m in range(len(specs))
        ]
        # Ours: the same models until all are at least as good.
        farm, data = cohort.farm(specs, dataclasses.replace(ours, num_epochs=ours_most))
        state, reached, ours_scores = init_state(data, farm=farm), {}, []
        step = 2 if not quick else 5
        while int(state.epoch) < ours_most and len(reached) < len(specs):
            for _ in range(step):
                state, _ = train_epoch(state, data, farm=farm)
            state, scores = validate(state, data, farm=farm)
            ours_scores.append(np.asarray(scores["energy"]).tolist())
            for m, energy in enumerate(ours_scores[-1]):
                if energy <= best[m]:
                    reached.setdefault(m, int(state.epoch))
        # All models of the kind at once, in turns with one of the baseline's.
        full, full_data = cohort.farm(every_spec, dataclasses.replace(ours, num_epochs=ours_most))
        state = init_state(full_data, farm=full)

        def advance(step, full=full, full_data=full_data) -> None:
            nonlocal state
            state, _ = step(state, full_data, farm=full)
            jax.block_until_ready(state)

        tasks = {
            "torch_epoch_s": lambda t=trainers[0], num=torch_steps: t.steps(num),
            "torch_tenth_s": lambda t=trainers[0]: t.generate(cohort.latents, cohort.val, 100),
            "ours_epoch_s": lambda: advance(train_epoch),
            "ours_validation_s": lambda: advance(validate),
        }
        num_rounds = 1 if quick else 5
        first, *rounds = [
            {name: seconds_of(task) for name, task in tasks.items()} for _ in range(1 + num_rounds)
        ]
        timed = {name: statistics.median(each[name] for each in rounds) for name in tasks}
        result["kinds"][kind] = {
            "models": len(every_spec),
            "torch_epoch_s": timed["torch_epoch_s"],
            "torch_validation_s": 10 * timed["torch_tenth_s"],
            "ours_epoch_s": timed["ours_epoch_s"],
            "ours_validation_s": timed["ours_validation_s"],
            "compile_s": sum(
                first[name] - timed[name] for name in ("ours_epoch_s", "ours_validation_s")
            ),
            "torch_curve_every": every,
            "torch_curve": curve,
            "ours_curve_every": step,
            "ours_curve": ours_scores,
        }
        for m, spec in enumerate(specs):
            result["models"].append(
                {
                    "model": spec.name,
                    "baseline_best": float(best[m]),
                    "baseline_epochs": epochs_to_best[m],
                    "ours_epochs": reached.get(m),
                    "ours_energy": min(row[m] for row in ours_scores),
                }
            )
            print(result["models"][-1], flush=True)
    return result | {"totals": totals(result)}


def totals(result: dict) -> dict:
    """Seconds of all 16 models: the mean epochs of the kind's LEARNT models times seconds."""
    torch_s = torch_checks = ours_s = compile_s = 0.0
    for kind, names in LEARNT.items():
        about = result["kinds"][kind]
        rows = [row for row in result["models"] if row["model"] in names]
        epochs = statistics.mean(row["baseline_epochs"] for row in rows)
        torch_s += about["models"] * epochs * about["torch_epoch_s"]
        torch_checks += about["models"] * epochs / 200 * about["torch_validation_s"]
        # A farm trains on until the last of its models is there.
        needed = [row["ours_epochs"] for row in rows]
        if None in needed:
            return {"reached": False}
        ours_s += max(needed) * about["ours_epoch_s"] + about["ours_validation_s"]
        compile_s += about["compile_s"]
    return {
        "reached": True,
        "torch_s": torch_s,
        "torch_validation_s": torch_checks,
        "ours_s": ours_s,
        "compile_s": compile_s,
        "speedup": (torch_s + torch_checks) / (ours_s + compile_s),
        "speedup_without_compilation": (torch_s + torch_checks) / ours_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("score", "models", "overhead", "scaling")
    parser.add_argument("--run", type=Path, required=True, help="run whose latents are used")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--quick", action="store_true", help="small sizes; kept only with --out")
    parser.add_argument("--out", type=Path, help=f"default: {RESULT.name}, unless --quick")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cohort = Cohort(arguments.run)
    if arguments.worker:
        scaling_worker(cohort, arguments.worker)
        return
    import torch

    torch.manual_seed(0)
    if jax.default_backend() != "cpu" and torch.cuda.is_available():
        torch.set_default_device("cuda")
    began, measured = time.perf_counter(), {}
    about = {
        "device": jax.devices()[0].device_kind,
        "cpu_count": os.cpu_count(),
        "machine": platform.machine(),
        "jax": jax.__version__,
        "torch": torch.__version__,
        "torch_device": str(torch.get_default_device()),
        "patients": [len(cohort.train), len(cohort.val)],
    }
    for name in arguments.parts:
        print(f"-- {name}, {time.perf_counter() - began:.0f} s", flush=True)
        load = os.getloadavg()[0]
        more = (arguments.run,) if name == "scaling" else ()
        results = globals()[f"{name}_part"](cohort, arguments.quick, *more)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        measured[name] = {
            "about": about | {"time": now, "load_average_before": load},
            "results": results,
        }
        out = arguments.out or (None if arguments.quick else RESULT)
        if out:
            kept = json.loads(out.read_text()) if out.exists() else {}
            out.write_text(json.dumps(kept | measured, indent=1) + "\n")
    if out == RESULT and len(json.loads(RESULT.read_text())) == len(parts):
        from benchmarks.readme import refresh

        refresh("training", "recipe")
    print(f"{time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
