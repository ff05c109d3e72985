"""The library against its rivals: the same tables, patients and covariates.

    python -m benchmarks.peers --data DIR

DIR holds folders of tables, one a cohort (COHORTS; COHGEN_DATA names it too). Each method runs in a
process of its own, alone; rivals (rivals/) in environments that are made when first needed, under
--envs. Every result goes into peers.json as soon as it is there, and what is there already is kept:
a second call goes on where the first ended. The tables of README.md and docs/rivals.md are written
from it.

Scored: every modality of the held-out patients of the run that the library trained, from whatever
else each patient has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rivals import RIVALS
from benchmarks.rivals.environments import ENVIRONMENTS, Environment, Unavailable, python_of
from benchmarks.rivals.scoring import Judge, against, cohort_of_run
from cohgen_jax.runs.config import RecipeName
from cohgen_jax.runs.families import METHODS
from cohgen_jax.runs.run import Run, open_run

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
"""Threads that wait for each other sleep: on a core that is shared, spinning costs many times what
is computed."""


class Source(NamedTuple):
    """A cohort that is compared on."""

    recipe: RecipeName = "default"
    modalities: tuple[str, ...] = ()
    """All when empty."""
    of: str | None = None
    """The cohort whose tables these are, split anew."""
    split_seed: int | None = None
    """None: the recipe's."""


COHORTS: dict[str, Source] = {
    "demo": Source("demo"),
    "breast": Source(),
    "citeseq": Source(),
    "cll": Source(),
    "cll-1": Source(of="cll", split_seed=1),
    "cll-2": Source(of="cll", split_seed=2),
    "tcga": Source(modalities=("cna", "rna", "rppa", "wsi")),
}
"""`demo` is embedded, the others are folders by that name; the smallest first. A split of cll holds
out seven patients with proteins: other splits tell whether what one says is chance."""


class Settings(NamedTuple):
    work: Path
    envs: Path
    out: Path
    limit: float = 600.0
    """Wall-clock seconds that one rival may take for one cohort."""
    draws: int = 10
    seed: int = 0
    runs: Path | None = None
    """Finished runs, one a cohort; those that are not there are trained."""


def compare(
    name: str,
    path: str,
    source: Source,
    rivals: Sequence[str],
    settings: Settings,
    environments: dict[str, Environment] = ENVIRONMENTS,
) -> None:
    """Train the library's run of a cohort unless it is there, then measure each rival."""
    folder = settings.work / name
    trained = settings.runs / name if settings.runs and (settings.runs / name).exists() else None
    run_dir, own = trained or folder / "run", folder / "cohgen"
    kept = _kept(settings.out).get(name, {}).get("methods", {})
    if not all(method in kept for method in METHODS):
        print(f"-- {name}: cohgen_jax", flush=True)
        about = _about()
        command = [sys.executable, "-m", "benchmarks.rivals.cohgen", "--cohort", path]
        command += ["--recipe", source.recipe, "--run", str(run_dir), "--out", str(own)]
        command += ["--draws", str(settings.draws), "--seed", str(settings.seed)]
        command += ["--trained"] * (trained is not None)
        if source.split_seed is not None:
            command += ["--split-seed", str(source.split_seed)]
        command += ["--modalities", *source.modalities]
        ended = _process(command, own / "log.txt", limit=None)
        if ended:
            raise RuntimeError(f"{name}: the library's own run failed: {ended}")
        run = open_run(run_dir)
        judge = Judge(run, cohort_of_run(run))
        found = {m: _measured(own / m, judge, own, settings) | about for m in METHODS}
        facts = {"patients": _sizes(run), "recipe": source.recipe, "trained": trained is None}
        facts |= {"of": source.of} if source.of else {}
        _keep(settings.out, name, facts, found)
    run = open_run(run_dir)
    cohort = cohort_of_run(run)
    judge = Judge(run, cohort)
    folder.mkdir(parents=True, exist_ok=True)
    cohort.save(folder / "cohort.npz")
    for rival in rivals:
        if _kept(settings.out)[name]["methods"].get(rival, {}).get("status") == "measured":
            continue
        print(f"-- {name}: {rival}", flush=True)
        found = measure(rival, folder, judge, settings, environments)
        _keep(settings.out, name, {}, {rival: found})


def measure(
    rival: str,
    folder: Path,
    judge: Judge,
    settings: Settings,
    environments: dict[str, Environment] = ENVIRONMENTS,
) -> dict[str, Any]:
    """One rival on the cohort in `folder`: its scores and costs, or why there are none."""
    environment, about = RIVALS[rival].environment, _about()
    try:
        python = python_of(environments[environment], settings.envs / environment)
    except Unavailable as reason:
        return {"status": "skipped", "reason": str(reason), **about}
    out = folder / rival
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").unlink(missing_ok=True)
    command = [str(python), "-m", "benchmarks.rivals.worker", rival]
    command += ["--cohort", str(folder / "cohort.npz"), "--out", str(out)]
    command += ["--draws", str(settings.draws), "--seed", str(settings.seed)]
    ended = _process(command, out / "log.txt", settings.limit)
    if not (out / "report.json").exists():
        return {"status": "failed", "reason": ended or "it wrote nothing", **about}
    found = _measured(out, judge, folder / "cohgen", settings)
    return {**found, **({"reason": ended} if ended else {}), **about}


def _process(command: list[str], log: Path, limit: float | None) -> str | None:
    """Run it alone; None, or why it did not end well. Whatever it started ends with it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **PATIENT}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, cwd=ROOT, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"not within {limit:.0f} s"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if code:
        lines = log.read_text().strip().splitlines() or [f"exit status {code}"]
        return lines[-1][:300]
    return None


def _measured(out: Path, judge: Judge, own: Path, settings: Settings) -> dict[str, Any]:
    """Scores of what lies in `out`, beside the library's in `own`, and what it cost."""
    report = json.loads((out / "report.json").read_text())
    names, compile_s = ("draw_s", "draw_cpu_s"), 0.0
    targets, seconds, patients = {}, dict.fromkeys(names, 0.0), 0
    for target, times in report["targets"].items():
        judged = judge.judge(np.load(out / f"{target}.npy"), times["space"], target, settings.seed)
        np.save(out / f"{target}_crps.npy", judged.by_patient)
        rows = judge.cohort.asked(judge.run.index(target))
        whose = judge.run.samples["patient_id"].to_numpy()[rows]
        beside = {
            method: against(judged.by_patient, np.load(own / method / f"{target}_crps.npy"), whose)
            for method in METHODS
            if (own / method / f"{target}_crps.npy").exists() and own / method != out
        }
        targets[target] = {"patients": len(rows), **judged.scores, "against": beside}
        patients += len(rows)
        for name in seconds:
            seconds[name] += times[name] + judged.whole_s
        compile_s += max(0.0, times.get("first_draw_s", times["draw_s"]) - times["draw_s"])
    scale = 1000 / patients * 10 / settings.draws
    prepared, cpu = report["targets"].values(), report.get("fit_cpu_s")  # a log does not say it
    if cpu is not None:
        cpu += sum(t.get("prepare_cpu_s", 0) for t in prepared)
    return {
        "status": "measured",
        "targets": targets,
        "train_s": report["fit_s"] + sum(t["prepare_s"] for t in prepared),
        "train_cpu_s": cpu,
        **{name: scale * value for name, value in seconds.items()},
        "compile_s": compile_s,
        "peak_mb": report["peak_mb"],
        "versions": report["versions"],
    }


def _sizes(run: Run) -> dict[str, Any]:
    sides = {side: len(run.rows(side)) for side in ("train", "val", "test")}
    features = {m: len(run.codecs[m].features) for m in run.modalities}
    return {**sides, "features": features, "covariates": list(run.covariates.names)}


def _about() -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average_before": os.getloadavg()[0],
    }


def _kept(out: Path) -> dict[str, Any]:
    return json.loads(out.read_text())["cohorts"] if out.exists() else {}


def _keep(out: Path, cohort: str, about: dict[str, Any], found: dict[str, Any]) -> None:
    """Add results of a cohort to the file."""
    cohorts = _kept(out)
    before = cohorts.get(cohort, {"methods": {}})
    methods = {**before["methods"], **found}
    order = [m for m in (*METHODS, *RIVALS) if m in methods]
    cohorts[cohort] = {**before, **about, "methods": {m: methods[m] for m in order}}
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()})"
    where = {"machine": machine, "python": platform.python_version()}
    cohorts = {name: cohorts[name] for name in COHORTS if name in cohorts} | cohorts
    out.write_text(json.dumps({"about": where, "cohorts": cohorts}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("COHGEN_DATA"), help="folders of tables")
    parser.add_argument("--cohorts", nargs="+", choices=COHORTS, default=list(COHORTS))
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=list(RIVALS))
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "peers", help="runs, draws")
    parser.add_argument("--envs", type=Path, help="environments; default: in --work")
    parser.add_argument(
        "--runs", type=Path, help="finished runs of these cohorts, not trained anew"
    )
    parser.add_argument("--limit", type=float, default=600, help="seconds a rival and cohort")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULT)
    a = parser.parse_args()
    envs = a.envs or a.work / "envs"
    runs = a.runs.resolve() if a.runs else None
    settings = Settings(a.work.resolve(), envs.resolve(), a.out, a.limit, a.draws, runs=runs)
    for name in a.cohorts:
        folder = COHORTS[name].of or name
        path = name if name == "demo" else str(Path(a.data or "") / folder)
        if name != "demo" and not (a.data and Path(path).is_dir()):
            print(f"{name} is left out: --data or COHGEN_DATA must hold a folder {folder}")
            continue
        compare(name, path, COHORTS[name], a.rivals, settings)
    if a.out == RESULT:
        from benchmarks.readme import refresh

        refresh("peers", "peers short")


if __name__ == "__main__":
    main()
