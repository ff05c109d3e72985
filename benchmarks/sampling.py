"""How fast samples are drawn, beside the published loop in PyTorch, in one interleaved run.

    python -m benchmarks.sampling                         everything, half an hour on 2 cores
    python -m benchmarks.sampling --quick                 small sizes, two minutes; nothing is kept
    python -m benchmarks.sampling --parts steps startup   replaces these parts of the results

startup     import; first result of a new process whose programs are in the compilation cache
sweeps      samples, models, width, steps (default network, default solver)
steps       equal steps, equal weights: the published loop against the library at 64, 512, 1500
            samples (norm_mlp, 512 x 5, 3 models); share of the measured matrix-product peak
quality     the same draws at equal quality: 1000 published steps against few
evaluation  4 targets x (7 subsets coherent + 7 multi) x 10 draws of 700 patients as one job,
            compilation included; the published loop's time is its measured step times 1000 x 10

Medians of interleaved repeats; compilation apart. Results go to benchmarks/sampling.json, and from
there with plot_sampling.py into the README. JAX picks the device; on a GPU sizes are larger,
PyTorch runs there too, and equal steps are also timed in tf32 and bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# PyTorch and JAX share a GPU's memory here.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # as `import cohgen_jax` before NumPy sets it
import jax
import jax.numpy as jnp
import numpy as np

# PyTorch's threads spin at barriers; on shared cores that costs it a factor of ten. Let them sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from benchmarks.record import record
from cohgen_jax.evaluation.fidelity import conditions
from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.runs.config import recipe
from cohgen_jax.sampling import Bank, SamplerConfig, coherent_sample, sample_rows
from cohgen_jax.sampling.specialize import PRECISIONS
from cohgen_jax.sampling.stacking import Moments, Pattern
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import Solver, SolverConfig, ddpm, dpmpp_2m
from cohgen_jax.training.regression import Regression, Regressions

RESULT = Path(__file__).with_suffix(".json")
ROOT = RESULT.parents[1]
SCHEDULE = linear_schedule()
PUBLISHED = NetworkConfig(architecture="norm_mlp", width=512, num_layers=5)
PUBLISHED_DIM = recipe("published").codec.latent_dim
RECIPE = recipe("default")
DEFAULT = RECIPE.single.network
NAMES = ("cna", "rna", "rppa", "wsi")
TIMED_STEPS = 10
"""Steps timed of the published chain of 1000, spread over it."""
CHOSEN = {kind: SolverConfig().build(SCHEDULE, kind) for kind in ("eps", "v")}
"""The default of each kind of network: holds score and spread of 1000 steps (solver_study.json)."""
FEW = SolverConfig(name="gaussian").build(SCHEDULE, "v")
"""The fast mode (few_evaluations.json)."""
TRAINED, VALIDATED = 3329, 415
"""Patients of tcga that a regression holds and that moments are of."""
GPU = jax.default_backend() != "cpu"
Slots = list[tuple[int, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured. our_steps: samples -> steps of our chain where steps are compared, so many
    that folding and planning, done once a chain, weigh about what they weigh in 1000 steps."""

    repeats: int = 7
    our_steps: Mapping[int, int] = dataclasses.field(
        default_factory=lambda: (
            {64: 1000, 1500: 1000, 16_384: 300} if GPU else {64: 1000, 512: 200, 1500: 100}
        )
    )
    patients: int = 700
    evaluations: int = 3
    samples: tuple[int, ...] = (1, 10, 100, 1000, 10_000, 100_000, *([1_000_000] if GPU else []))
    models: tuple[int, ...] = (1, 2, 4, 8, 16)
    width: tuple[int, ...] = (64, 128, 256, 512, 1024)
    steps: tuple[int, ...] = (10, 25, 50, 100, 250)
    processes: int = 6


QUICK = Sizes(
    repeats=3,
    our_steps={64: 200},
    patients=100,
    evaluations=1,
    samples=(1, 100, 1000),
    models=(1, 4),
    width=(64, 256),
    steps=(10, 50),
    processes=3,
)


def bank_of(config: NetworkConfig, slots: Slots, seed: int = 0) -> Bank:
    """Models of one target, each of the sources that its slot names, random weights; as wide as
    the published latents or as those of the default recipe."""
    published = config == PUBLISHED
    dim = PUBLISHED_DIM if published else RECIPE.codec.latent_dim
    modules = [build(config, dim, (dim,) * len(slot)) for slot in slots]
    models = [(m, init(m, jax.random.key(seed + k))) for k, m in enumerate(modules)]
    sources = [f"source_{s}" for s in range(1 + max(max(slot) for slot in slots))]
    predicts = "eps" if published else "v"
    return Bank.from_models("target", sources, models, predicts=predicts, slots=slots)


def as_trained(bank: Bank) -> Bank:
    """With what a run of the default recipe knows beside its networks: a regression for each
    pattern of sources, moments for the stacked consensus, and a fitted spread. Random values."""
    rng, dim, num = np.random.default_rng(0), bank.x_dim, len(bank.sources)
    patterns: list[Pattern] = list(itertools.product((False, True), repeat=num))

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def regression(width: int) -> Regression:
        gains = np.full(width, width**-0.5, np.float32)
        x, dual, size = normal(TRAINED, width) * gains, normal(TRAINED, dim), normal(TRAINED)
        mean, variance = np.zeros(dim, np.float32), np.full(dim, 0.5, np.float32)
        return Regression(np.arange(TRAINED), x, gains, dual / TRAINED, mean, variance, size / 1e4)

    heard = bank.with_regression(
        Regressions({pattern: regression(dim * sum(pattern) or 1) for pattern in patterns}),
        SCHEDULE.alpha_bar,
    )
    said = normal(dim, heard.num_models + 1, 2 * heard.num_models)
    second = np.tile(said @ np.swapaxes(said, 1, 2), (10, 1, 1, 1))
    resting = np.arange(heard.num_models) == heard.num_models - 1
    of_any = Moments(
        np.linspace(-9, 9, 10), second, np.ones(dim), np.array(VALIDATED), resting.astype(float)
    )
    return dataclasses.replace(heard, moments=dict.fromkeys(patterns, of_any), spread=1.01)


def singles(num_sources: int, members: int = 1) -> Slots:
    return [(s,) for s in range(num_sources)] * members


def multis(num_sources: int, members: int = 1) -> Slots:
    return [tuple(range(num_sources))] * members


def patients(bank: Bank, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents and what is there: the sources of the bank, and its target."""
    z = latents(num, len(bank.sources) + 1, bank.x_dim)
    return z, np.ones(z.shape[:2], bool)


@functools.lru_cache(maxsize=2)  # making them is no part of what is timed
def latents(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def every_pattern(num: int) -> np.ndarray:
    """bool [7 num, 4]: who has what, `num` patients of each subset of the sources of the last."""
    subsets = conditions(NAMES, targets=NAMES[-1:])
    return np.repeat([[name in c.sources for name in NAMES] for c in subsets], num, axis=0)


def draw(bank: Bank, num: int, solver: Solver, num_draws: int = 1, present=None, **more):
    """The library's public path: host arrays in, host arrays out."""
    names = (*bank.sources, bank.target)
    z, everything = patients(bank, num)
    present = everything if present is None else present
    if len(present) > num:
        z = np.resize(z, (len(present), *z.shape[1:]))
    return sample_rows(bank, names, z, present, 0, num_draws, SamplerConfig(solver=solver, **more))


def interleaved(
    tasks: Mapping[str, Callable[[], object]], repeats: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each task, the tasks taking turns: medians, and the best of each.

    Where other work shares the cores the medians of PyTorch's thread pool suffer most; the ratio
    of the best is then the cautious one.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            times[name].append(timed(task))
    return (
        {name: statistics.median(values) for name, values in times.items()},
        {name: min(values) for name, values in times.items()},
    )


def timed(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(task())
    return time.perf_counter() - began


def torch_loop(
    bank: Bank, num: int, count: int, device: str, compiled: bool = False
) -> Callable[[], object]:
    """The published loop with the weights of a bank of norm_mlps, `count` of its 1000 steps; the
    networks eager, as published, or through `torch.compile`."""
    import torch

    from benchmarks.torch_baseline import from_variables, published_loop

    group = bank.groups[0]
    models = [
        from_variables(
            group.module, jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), group.variables)
        ).to(device)
        for k in range(len(group.members))
    ]
    if compiled:
        models = [torch.compile(model) for model in models]
    z, _ = patients(bank, num)
    conds = [[torch.tensor(z[:, s]).to(device) for s in slot] for slot in bank.slots]
    timesteps = np.linspace(SCHEDULE.num_steps - 1, 0, count).round().astype(int).tolist()

    def run():
        x = torch.randn(num, z.shape[-1], device=device)
        result, _ = published_loop(models, conds, SCHEDULE, x, timesteps=timesteps)
        return result.cpu()

    return run


def products(rows: int, width: int, repeats: int = 20) -> Callable[[], object]:
    """`repeats` chained float32 products [rows, width] @ [width, width], to measure the peak."""
    x, w = jnp.ones((rows, width)), jnp.full((width, width), 1 / width)

    @jax.jit
    def run(x, w):
        with jax.default_matmul_precision("highest"):
            return jax.lax.fori_loop(0, repeats, lambda i, h: h @ w, x)

    return lambda: run(x, w)


def loop_flops(config: NetworkConfig) -> int:
    """Multiplications and additions that depend on x_t, of one norm_mlp evaluation."""
    inner = (config.num_layers - 2) * config.width**2
    return 2 * (2 * PUBLISHED_DIM * config.width + inner)


def equal_steps(sizes: Sizes, device: str) -> list[dict]:
    bank, results = bank_of(PUBLISHED, singles(3)), []
    flops = 3 * loop_flops(PUBLISHED)
    for num, our_steps in sizes.our_steps.items():
        solver = ddpm(SCHEDULE, our_steps)
        steps = {"torch": TIMED_STEPS, "compiled": TIMED_STEPS, "plain": min(our_steps, 100)}
        tasks = {
            "torch": torch_loop(bank, num, TIMED_STEPS, device),
            "compiled": torch_loop(bank, num, TIMED_STEPS, device, compiled=True),
            "plain": lambda num=num, s=ddpm(SCHEDULE, steps["plain"]): plain(bank, num, s),
        }
        for precision in PRECISIONS if GPU else PRECISIONS[:1]:
            steps[precision] = our_steps
            tasks[precision] = lambda n=num, s=solver, p=precision: draw(bank, n, s, precision=p)
        compile_s = {name: timed(task) for name, task in tasks.items()}
        tasks["product"] = products(3 * num, PUBLISHED.width)
        tasks["product"]()
        seconds, best = interleaved(tasks, sizes.repeats)
        product = 20 * 2 * 3 * num * PUBLISHED.width**2
        for precision in steps.keys() - {"torch", "compiled", "plain"}:
            row: dict[str, Any] = {"samples": num, "models": 3, "precision": precision}
            for kind, of in (("", seconds), ("_best", best)):
                step = {name: of[name] / count for name, count in steps.items()}
                row |= {f"torch_ms{kind}": 1e3 * step["torch"]}
                row |= {f"torch_compiled_ms{kind}": 1e3 * step["compiled"]}
                row |= {f"plain_ms{kind}": 1e3 * step["plain"]}
                row |= {f"ours_ms{kind}": 1e3 * step[precision]}
                row |= {f"speedup{kind}": step["torch"] / step[precision]}
                peak = product / of["product"]
                row |= {f"peak_gflops{kind}": peak / 1e9}
                row |= {f"share_of_peak{kind}": num * flops / step[precision] / peak}
            row["compile_s"] = max(0.0, compile_s[precision] - seconds[precision])
            results.append(row)
            print(row, flush=True)
    return results


def plain(bank: Bank, num: int, solver: Solver):
    """The library without specialisation or chunks: what jit alone gives."""
    z, _ = patients(bank, num)
    conds = [z[:, s] for s in range(len(bank.sources))]
    return coherent_sample(jax.random.key(0), bank, conds, solver=solver, specialized=False).draws


def equal_quality(sizes: Sizes, device: str) -> list[dict]:
    """Ten repeats for 300 patients from three sources."""
    published, results = bank_of(PUBLISHED, singles(3)), []
    ours = as_trained(bank_of(DEFAULT, singles(3)))
    chosen = {
        "published networks, same weights": (published, CHOSEN["eps"], "mean"),
        "default recipe": (ours, CHOSEN["v"], "stacked"),
        "default recipe, few steps": (ours, FEW, "stacked"),
    }
    tasks = {
        name: lambda bank=bank, solver=solver, rule=rule: draw(
            bank, 300, solver, 10, consensus=rule
        )
        for name, (bank, solver, rule) in chosen.items()
    }
    tasks["torch"] = torch_loop(published, 300, TIMED_STEPS, device)
    compile_s = {name: timed(task) for name, task in tasks.items()}
    seconds, best = interleaved(tasks, sizes.repeats)
    loop, best_loop = (10_000 / TIMED_STEPS * s["torch"] for s in (seconds, best))
    for name, (_, solver, _) in chosen.items():
        row = {"what": name, "steps": solver.num_steps, "nfe": 3 * solver.num_steps}
        row |= {"torch_s": loop, "ours_s": seconds[name], "speedup": loop / seconds[name]}
        row |= {"speedup_best": best_loop / best[name]}
        row |= {"compile_s": max(0.0, compile_s[name] - seconds[name])}
        results.append(row)
        print(row, flush=True)
    return results


def whole_evaluation(sizes: Sizes, device: str) -> list[dict]:
    """All 56 conditions, 10 repeats, 700 patients: draws on the host, compilation included. The
    loop's steps are timed before every evaluation."""
    num, repeats, results = sizes.patients, 10, []
    loops = {
        f"{k}_models": torch_loop(bank_of(PUBLISHED, singles(k)), num, TIMED_STEPS, device)
        for k in (1, 2, 3)
    }
    loops["multi"] = torch_loop(bank_of(PUBLISHED, multis(3)), num, TIMED_STEPS, device)
    for loop in loops.values():
        loop()
    present = every_pattern(num)
    published = ((PUBLISHED, singles(3)), (PUBLISHED, multis(3)))
    default = tuple(
        (config.network, slots(3, config.members))
        for config, slots in ((RECIPE.single, singles), (RECIPE.multi, multis))
    )
    ways = {
        "published networks": (published, CHOSEN["eps"], "average"),
        "default recipe": (default, CHOSEN["v"], "average"),
        "default recipe, members in turns": (default, CHOSEN["v"], "mixture"),
        "default recipe, few steps": (default, FEW, "average"),
        "default recipe, few steps, members in turns": (default, FEW, "mixture"),
    }

    def seconds_of(models, solver: Solver, ensemble: str) -> float:
        banks = [
            bank_of(config, slots, 10 * target)
            for target in range(len(NAMES))
            for config, slots in models
        ]
        rule = "mean"
        if models is default:
            banks, rule = [as_trained(bank) for bank in banks], "stacked"
        jax.clear_caches()
        began = time.perf_counter()
        for bank in banks:
            draw(bank, num, solver, repeats, present, ensemble=ensemble, consensus=rule)
        return time.perf_counter() - began

    times: dict[str, list[float]] = {name: [] for name in (*loops, *ways)}
    for _ in range(sizes.evaluations):
        for name, way in ways.items():
            for of, loop in loops.items():
                times[of].append(timed(loop))
            times[name].append(seconds_of(*way))
    subsets = [len(c.sources) for c in conditions(NAMES)]
    torch_s, torch_best = (
        (sum(of(times[f"{k}_models"]) for k in subsets) + len(subsets) * of(times["multi"]))
        * (SCHEDULE.num_steps / TIMED_STEPS * repeats)
        for of in (statistics.median, min)
    )
    for name, (models, solver, _) in ways.items():
        seconds = statistics.median(times[name])
        row = {"what": name, "torch_s": torch_s, "ours_s": seconds, "speedup": torch_s / seconds}
        row |= {"torch_s_best": torch_best, "speedup_best": torch_best / seconds}
        row |= {"steps": solver.num_steps, "patients": num, "repeats": repeats}
        row |= {"calls": len(NAMES) * len(models)}
        results.append(row)
        print(row, flush=True)
    return results


def sweeps(sizes: Sizes, device: str) -> dict[str, list[dict]]:
    """Each size in a new call; where one call takes long, compilation is a small part of it."""
    results: dict[str, list[dict]] = {}

    def measure(sweep: str, value: int, bank: Bank, num: int, solver: Solver = CHOSEN["v"]) -> None:
        first = timed(lambda: draw(bank, num, solver))
        repeats = 3 if first < 5 else 1 if first < 60 else 0
        again = [timed(lambda: draw(bank, num, solver)) for _ in range(repeats)]
        seconds = statistics.median(again) if again else first
        row = {sweep: value, "seconds": seconds, "compile_s": max(0.0, first - seconds)}
        row |= {"nfe": solver.num_steps * bank.num_models, "samples_per_s": num / seconds}
        row |= {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
        results.setdefault(sweep, []).append(row)
        print(row, flush=True)

    bank = bank_of(DEFAULT, singles(3))
    for num in sizes.samples:
        measure("samples", num, bank, num)
    for num_models in sizes.models:
        measure("models", num_models, bank_of(DEFAULT, singles(num_models)), 512)
    for width in sizes.width:
        config = dataclasses.replace(DEFAULT, width=width)
        measure("width", width, bank_of(config, singles(3)), 512)
    for steps in sizes.steps:
        measure("steps", steps, bank, 512, dpmpp_2m(SCHEDULE, steps))
    return results


FIRST_RESULT = """
import sys, time
began = time.perf_counter()
import cohgen_jax
imported = time.perf_counter()
import jax
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
from benchmarks.sampling import DEFAULT, CHOSEN, bank_of, draw, singles
bank = bank_of(DEFAULT, singles(3))
jax.block_until_ready(bank.losses)
ready = time.perf_counter()
draw(bank, 1, CHOSEN["v"], 10)
print(imported - began, time.perf_counter() - ready, time.perf_counter() - began)
"""


def startup(sizes: Sizes, device: str) -> dict[str, float]:
    """A new process: import, and the first ten draws for one patient."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", FIRST_RESULT, cache]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        runs = [
            [float(v) for v in subprocess.check_output(command, env=environment).split()]
            for _ in range(sizes.processes)
        ]
    names = ("import_s", "first_result_s", "whole_process_s")
    warm = {
        name: statistics.median(v)
        for name, v in zip(names, zip(*runs[1:], strict=True), strict=True)
    }
    row = warm | {"first_result_cold_cache_s": runs[0][1]}
    print(row, flush=True)
    return row


PARTS = {
    "startup": startup,  # before this process keeps the cores busy
    "sweeps": sweeps,  # before others have raised the peak of memory
    "steps": equal_steps,
    "quality": equal_quality,
    "evaluation": whole_evaluation,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes; kept only with --out")
    parser.add_argument("--out", type=Path, help=f"default: {RESULT.name}, unless --quick")
    arguments = parser.parse_args()
    import torch

    torch.manual_seed(0)
    device = "cuda" if GPU and torch.cuda.is_available() else "cpu"
    about = {
        "torch": torch.__version__,
        "torch_device": device,
        "torch_threads": torch.get_num_threads(),
    }
    sizes = QUICK if arguments.quick else Sizes()
    out = arguments.out or (None if arguments.quick else RESULT)
    for name, part in PARTS.items():
        if name in arguments.parts:
            record(name, lambda part=part: part(sizes, device), out, **about)


if __name__ == "__main__":
    main()
