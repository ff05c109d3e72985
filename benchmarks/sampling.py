"""How fast samples are drawn, beside the published loop in PyTorch, in one interleaved run.

    python benchmarks/sampling.py                         all parts, a quarter of an hour on 2 cores
    python benchmarks/sampling.py --parts steps startup

steps       equal steps, equal weights: the published loop against the library at 64, 512, 1500
            samples (norm_mlp, 512 x 5, 3 models); share of the measured matrix-product peak
quality     the same draws at equal quality: 1000 published steps against the chosen solvers
evaluation  4 targets x (7 subsets coherent + 7 multi) x 10 draws of 700 patients as one job,
            compilation included; the published loop's time is its measured step times 1000 x 10
sweeps      samples, models, width, steps (default network)
startup     import; first result of a new process whose programs are in the compilation cache

Medians of interleaved repeats; compilation apart. Results go to benchmarks/sampling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

# PyTorch's threads spin at barriers; on shared cores that costs it a factor of ten. Let them sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cohgen_jax.config import recipe
from cohgen_jax.evaluation.fidelity import conditions
from cohgen_jax.networks import NetworkConfig, build, init
from cohgen_jax.sampling import Bank, sample_rows
from cohgen_jax.schedule import linear_schedule
from cohgen_jax.solvers import Solver, ddpm, dpmpp_2m

RESULT = Path(__file__).with_suffix(".json")
ROOT = RESULT.parents[1]
SCHEDULE = linear_schedule()
D = 32
PUBLISHED = NetworkConfig(architecture="norm_mlp", width=512, num_layers=5)
RECIPE = recipe("default")
DEFAULT = RECIPE.single.network
NAMES = ("cna", "rna", "rppa", "wsi")
TIMED_STEPS = 10
"""Steps timed of the published chain of 1000, spread over it."""
OUR_STEPS = 100
"""Steps of our chain where steps are compared: more, since a call also folds and plans, once."""

# Holds the energy score and the spread of 1000 steps on the real cohort, for epsilon- and for
# v-networks (solver_study.json).
CHOSEN = dpmpp_2m(SCHEDULE, 12, eta=1.0)


def bank_of(config: NetworkConfig, num_models: int, seed: int = 0, predicts="eps") -> Bank:
    """Single-condition models of one target, random weights."""
    module = build(config, D, (D,))
    models = [(module, init(module, jax.random.key(seed + k))) for k in range(num_models)]
    sources = [f"source_{k}" for k in range(num_models)]
    return Bank.from_models("target", sources, models, predicts=predicts)


def multi_of(config: NetworkConfig, members: int = 1, predicts="eps") -> Bank:
    module = build(config, D, (D,) * 3)
    models = [(module, init(module, jax.random.key(k))) for k in range(members)]
    sources = [f"source_{k}" for k in range(3)]
    return Bank.from_models(
        "target", sources, models, predicts=predicts, slots=[(0, 1, 2)] * members
    )


def patients(num: int, num_sources: int) -> tuple[np.ndarray, np.ndarray]:
    z = np.random.default_rng(0).normal(size=(num, num_sources + 1, D)).astype(np.float32)
    return z, np.ones((num, num_sources + 1), bool)


def draw(bank: Bank, num: int, solver: Solver, num_draws: int = 1, present=None, **more):
    """The library's public path: host arrays in, host arrays out."""
    names = (*bank.sources, bank.target)
    z, everything = patients(num, len(bank.sources))
    present = everything if present is None else present
    if len(present) > num:
        z = np.resize(z, (len(present), *z.shape[1:]))
    return sample_rows(
        bank, names, z, present, 0, num_draws, schedule=SCHEDULE, solver=solver, **more
    )


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


def torch_loop(bank: Bank, num: int, count: int, device: str) -> Callable[[], object]:
    """The published loop with the weights of a bank of norm_mlps, `count` of its 1000 steps."""
    import torch

    from benchmarks.torch_baseline import from_variables, published_loop

    group = bank.groups[0]
    models = [
        from_variables(
            group.module, jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), group.variables)
        ).to(device)
        for k in range(len(group.members))
    ]
    z, _ = patients(num, len(bank.sources))
    conds = [[torch.tensor(z[:, s]).to(device) for s in slot] for slot in bank.slots]
    timesteps = np.linspace(SCHEDULE.num_steps - 1, 0, count).round().astype(int).tolist()

    def run():
        x = torch.randn(num, D, device=device)
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
    return 2 * (2 * D * config.width + inner)


def equal_steps(device: str) -> list[dict]:
    bank, results = bank_of(PUBLISHED, 3), []
    solver = ddpm(SCHEDULE, OUR_STEPS)
    for num in (64, 512, 1500):
        rows = 3 * num
        tasks = {
            "torch": torch_loop(bank, num, TIMED_STEPS, device),
            "ours": lambda num=num: draw(bank, num, solver),
            "plain": lambda num=num: plain(bank, num, solver),
            "product": products(rows, PUBLISHED.width),
        }
        compile_s = timed(tasks["ours"])
        for task in tasks.values():
            task()
        seconds, best = interleaved(tasks, 7)
        compile_s -= seconds["ours"]
        peak = 20 * 2 * rows * PUBLISHED.width**2 / seconds["product"]
        achieved = OUR_STEPS * rows * loop_flops(PUBLISHED) / seconds["ours"]
        steps = {"torch": TIMED_STEPS, "ours": OUR_STEPS, "plain": OUR_STEPS}
        step = {f"{k}_ms": 1e3 * seconds[k] / n for k, n in steps.items()}
        row = {"samples": num, "models": 3, **step, "speedup": step["torch_ms"] / step["ours_ms"]}
        row["speedup_of_best"] = best["torch"] / best["ours"] * OUR_STEPS / TIMED_STEPS
        row["share_of_peak_of_best"] = (
            OUR_STEPS * loop_flops(PUBLISHED) / best["ours"] * best["product"]
        ) / (20 * 2 * PUBLISHED.width**2)
        row |= {"peak_gflops": peak / 1e9, "share_of_peak": achieved / peak, "compile_s": compile_s}
        results.append(row)
        print(row, flush=True)
    return results


def plain(bank: Bank, num: int, solver: Solver):
    """The library without specialisation or chunks: what jit alone gives."""
    from cohgen_jax.sampling import coherent_sample

    z, _ = patients(num, len(bank.sources))
    conds = [z[:, s] for s in range(len(bank.sources))]
    return coherent_sample(
        jax.random.key(0), bank, conds, schedule=SCHEDULE, solver=solver, specialized=False
    ).draws


def equal_quality(device: str) -> list[dict]:
    """Ten repeats for 300 patients from three sources."""
    published, ours, results = bank_of(PUBLISHED, 3), bank_of(DEFAULT, 3, predicts="v"), []
    tasks = {
        "torch": torch_loop(published, 300, TIMED_STEPS, device),
        "eps": lambda: draw(published, 300, CHOSEN, 10),
        "v": lambda: draw(ours, 300, CHOSEN, 10),
    }
    compile_s = {name: timed(task) for name, task in tasks.items()}
    seconds, best = interleaved(tasks, 7)
    loop, best_loop = (10_000 / TIMED_STEPS * s["torch"] for s in (seconds, best))
    for name in ("eps", "v"):
        row = {"networks": name, "steps": CHOSEN.num_steps, "nfe": 3 * CHOSEN.num_steps}
        row |= {"torch_s": loop, "ours_s": seconds[name], "speedup": loop / seconds[name]}
        row |= {"speedup_of_best": best_loop / best[name]}
        row |= {"compile_s": compile_s[name] - seconds[name]}
        results.append(row)
        print(row, flush=True)
    return results


def whole_evaluation(device: str) -> list[dict]:
    """All 56 conditions, 10 repeats, 700 patients: draws on the host, compilation included."""
    num, repeats, results = 700, 10, []
    tasks = {
        f"{k}_models": torch_loop(bank_of(PUBLISHED, k), num, TIMED_STEPS, device)
        for k in (1, 2, 3)
    }
    tasks["multi"] = torch_loop(multi_of(PUBLISHED), num, TIMED_STEPS, device)
    for task in tasks.values():
        task()
    subsets = [len(c.sources) for c in conditions(NAMES)]
    loop, best_loop = (
        (sum(s[f"{k}_models"] for k in subsets) + len(subsets) * s["multi"])
        * (SCHEDULE.num_steps / TIMED_STEPS * repeats)
        for s in interleaved(tasks, 3)
    )
    patterns = [[name in c.sources for name in NAMES] for c in conditions(NAMES, targets=["wsi"])]
    present = np.repeat(np.array(patterns), num, axis=0)
    for name, config, members, predicts, solver in (
        ("published networks", PUBLISHED, 1, "eps", CHOSEN),
        ("default recipe", DEFAULT, RECIPE.multi.members, "v", CHOSEN),
    ):
        jax.clear_caches()
        began = time.perf_counter()
        for target in range(len(NAMES)):
            bank = bank_of(config, 3, 10 * target, predicts)
            draw(bank, num, solver, repeats, present)
            draw(multi_of(config, members, predicts), num, solver, repeats, present)
        seconds = time.perf_counter() - began
        row = {"what": name, "torch_s": loop, "ours_s": seconds, "speedup": loop / seconds}
        row |= {"torch_best_s": best_loop, "speedup_of_best": best_loop / seconds}
        row |= {"steps": solver.num_steps, "patients": num, "repeats": repeats, "calls": 8}
        results.append(row)
        print(row, flush=True)
    return results


def sweeps() -> dict[str, list[dict]]:
    results: dict[str, list[dict]] = {}

    def measure(sweep: str, value: int, bank: Bank, num: int, solver: Solver = CHOSEN) -> None:
        first = timed(lambda: draw(bank, num, solver))
        if first < 30:
            seconds = statistics.median(timed(lambda: draw(bank, num, solver)) for _ in range(3))
        else:  # compilation is a small part
            seconds = first
        row = {sweep: value, "seconds": seconds, "compile_s": first - seconds}
        row |= {"nfe": solver.num_steps * bank.num_models, "samples_per_s": num / seconds}
        results.setdefault(sweep, []).append(row)
        print(row, flush=True)

    bank = bank_of(DEFAULT, 3, predicts="v")
    for num in (1, 10, 100, 1000, 10_000, 100_000):
        measure("samples", num, bank, num)
    for num_models in (1, 2, 4, 8, 16):
        measure("models", num_models, bank_of(DEFAULT, num_models, predicts="v"), 512)
    for width in (64, 128, 256, 512, 1024):
        config = NetworkConfig(num_layers=3, width=width)
        measure("width", width, bank_of(config, 3, predicts="v"), 512)
    for steps in (10, 25, 50, 100, 250):
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
from benchmarks.sampling import DEFAULT, CHOSEN, bank_of, draw
bank = bank_of(DEFAULT, 3, predicts="v")
jax.block_until_ready(bank.losses)
ready = time.perf_counter()
draw(bank, 1, CHOSEN, 10)
print(imported - began, time.perf_counter() - ready, time.perf_counter() - began)
"""


def startup() -> dict[str, float]:
    """A new process: import, and the first ten draws for one patient."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", FIRST_RESULT, cache]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        runs = [
            [float(v) for v in subprocess.check_output(command, env=environment).split()]
            for _ in range(6)
        ]
    names = ("import_s", "first_result_s", "whole_process_s")
    warm = {
        name: statistics.median(v)
        for name, v in zip(names, zip(*runs[1:], strict=True), strict=True)
    }
    row = warm | {"first_result_cold_cache_s": runs[0][1]}
    print(row, flush=True)
    return row


def main() -> None:
    parts = ("steps", "quality", "evaluation", "sweeps", "startup")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if "startup" in arguments.parts:  # before this process keeps the cores busy
        found = {"startup": startup()}
    else:
        found = {}
    import torch

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    for name in arguments.parts:
        print(f"-- {name}", flush=True)
        if name == "sweeps":
            found[name] = sweeps()
        elif name != "startup":
            part = {"steps": equal_steps, "quality": equal_quality, "evaluation": whole_evaluation}
            found[name] = part[name](device)
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    about = {
        "device": jax.devices()[0].device_kind,
        "cpu_count": os.cpu_count(),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0],
        "jax": jax.__version__,
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    results |= {name: {"about": about, "results": part} for name, part in found.items()}
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
