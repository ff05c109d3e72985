"""The tables of README.md, made from the results: what stands between two markers is replaced.

<!-- NAME -->
what TABLES[NAME] returns
<!-- /NAME -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers_table
from cohgen_jax.evaluation.clustered import error_of_mean

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
SHOWN = (
    r"ddpm-(1000|250|25)|ddim-(15|50|25|25_clip3)|dpmpp_2m(_half)?_log_snr-(6|8|10)|"
    r"dpmpp_2m_uniform-(10|12|10_clip3)|dpmpp_2m_sde_uniform-(8|10|12|15)|"
    r"dpmpp_2m_sde_log_snr-(8|15)|dpmpp_2m_karras-10"
)
"""Solvers of the study that the README shows; all are in solver_study.json."""


def refresh(*names: str) -> None:
    """Write the tables of these names, all by default, into the README or where else they stand."""
    for name in names or TABLES:
        table, file = TABLES[name], ELSEWHERE.get(name, README)
        text, start, end = file.read_text(), f"<!-- {name} -->", f"<!-- /{name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"{file} must have {start} and {end}, once each")
        before, rest = text.split(start)
        try:
            made = table()
        except FileNotFoundError:
            if names:
                raise
            continue  # not measured yet
        file.write_text(f"{before}{start}\n{made}\n{end}{rest.split(end)[1]}")


def _load(name: str) -> dict[str, Any]:
    return json.loads((HERE / name).read_text())


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _parts(name: str, program: str = "sampling") -> Iterator[tuple[str, Any]]:
    """When and where a part was measured, and its results: those of PROGRAM.json, then of other
    devices."""
    for path in sorted(HERE.glob(f"{program}*.json"), key=lambda path: len(path.name)):
        if part := _load(path.name).get(name):
            yield f"{_where(part['about'])}.", part["results"]


def _where(about: dict[str, Any]) -> str:
    """Device, packages, time, and what disturbed the measurement."""
    beside = (
        "PyTorch {torch} on {torch_device}, ".format(**about) if "torch_device" in about else ""
    )
    return (
        f"{about['device']}, {about['cpu_count']} CPU cores ({about['machine']}), JAX "
        f"{about['jax']}, {beside}{about['time']}; {_circumstance(about)}"
    )


def _circumstance(about: dict[str, Any]) -> str:
    """What disturbed a measurement: other work, a time limit that left larger sizes out, or what
    is told of it."""
    if "circumstance" in about:
        return about["circumstance"]
    if "stopped_after_s" in about:
        return f"stopped after {about['stopped_after_s']} s, larger sizes not measured"
    return f"load average before: {about['load_average_before']:.1f}"


def _of_every_device(name: str, table: Callable[[Any], str], program: str = "sampling") -> str:
    parts = _parts(name, program)
    return "\n\n".join(f"{where}\n\n{table(results)}" for where, results in parts)


def _with_best(row: dict[str, Any], key: str, form: str) -> str:
    return f"{row[key]:{form}} ({row[key + '_best']:{form}})"


def steps_table(rows: list[dict[str, Any]]) -> str:
    """The share of the measured peak of float32 products says something only of a CPU: an
    accelerator has other units for lower precision, and waits for launches of few samples."""
    loops = ["published loop, ms a step", "through torch.compile, ms"]
    header = ["samples", "precision", *loops, "jit alone, ms", "library, ms"]
    on_cpu = {row["precision"] for row in rows} == {"float32"}
    return _table(
        [*header, "times faster (best)", *["share of product peak (best)"] * on_cpu],
        [
            [
                f"{row['samples']:,}",
                row["precision"],
                f"{row['torch_ms']:.2f}",
                f"{row['torch_compiled_ms']:.2f}" if "torch_compiled_ms" in row else "",
                f"{row['plain_ms']:.2f}",
                f"{row['ours_ms']:.{2 if on_cpu else 3}f}",
                _with_best(row, "speedup", ".1f"),
                *[_with_best(row, "share_of_peak", ".0%")] * on_cpu,
            ]
            for row in rows
        ],
    )


def quality_table(rows: list[dict[str, Any]]) -> str:
    return _table(
        ["networks", "published loop, 1000 steps", "steps", "library", "times faster (best)"],
        [
            [
                row["what"],
                f"{row['torch_s']:.0f} s",
                row["steps"],
                f"{row['ours_s']:.2f} s",
                _with_best(row, "speedup", ".0f"),
            ]
            for row in rows
        ],
    )


def evaluation_table(rows: list[dict[str, Any]]) -> str:
    return _table(
        ["networks", "published loop", "steps", "library", "times faster (its best)"],
        [
            [
                row["what"],
                f"{row['torch_s'] / 3600:.1f} h",
                row["steps"],
                f"{row['ours_s']:.0f} s",
                _with_best(row, "speedup", ".0f"),
            ]
            for row in rows
        ],
    )


def startup_line(row: dict[str, float]) -> str:
    return (
        f"Import of `cohgen_jax` {row['import_s']:.2f} s; first ten draws for one patient in a new "
        f"process with a filled compilation cache {row['first_result_s']:.1f} s, with an empty "
        f"one {row['first_result_cold_cache_s']:.1f} s; the warm process from start to end "
        f"{row['whole_process_s']:.1f} s."
    )


def sweep_table(sweeps: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for name, points in sweeps.items():
        for row in points:
            peak = f"{row['peak_mb']:.0f} MB" if name == "samples" else ""
            seconds = [f"{row['seconds']:.3g} s", f"{row['compile_s']:.1f} s"]
            rate = f"{row['samples_per_s']:.0f}"
            rows.append([name, f"{row[name]:,}", row["nfe"], *seconds, rate, peak])
    header = ["sweep", "size", "NFE", "seconds", "compilation", "samples a second"]
    return _table([*header, "peak memory so far"], rows)


def _studies() -> Iterator[tuple[str, str, dict[str, dict[str, dict]]]]:
    """A title, the models, and solver -> target -> scores, of every study."""
    for name, study in _load("solver_study.json").items():
        by_solver: dict[str, dict[str, dict]] = {}
        for row in study["table"]:
            by_solver.setdefault(row["solver"], {})[row["target"]] = row
        seeds, method = study.get("seeds", [study.get("seed")]), study.get("method", "coherent")
        title = (
            f"**{name}**: {study['predicts']}-prediction, {study['network']}, "
            f"{method} ({study.get('consensus', 'mean')}), "
            f"{study['patients']} patients, {study['draws']} draws, seeds {seeds}"
        )
        yield title, method, by_solver


def study_table() -> str:
    """One table a study; the excess is that of the worst target, in the reference's errors."""
    parts = []
    for title, _, by_solver in _studies():
        first, *_ = by_solver
        if not first.startswith("ddpm"):  # no comparison with long chains
            continue
        reference, rows = by_solver[first], []
        for solver, targets in by_solver.items():
            if not re.fullmatch(SHOWN, solver):
                continue
            worst = max(
                (row["energy_score"] - reference[t]["energy_score"])
                / reference[t]["energy_score_se"]
                for t, row in targets.items()
            )
            cells = [
                f"{r['energy_score']:.3f} ± {r['energy_score_se']:.3f} ({r['r2_inf']:.3f}, "
                f"{r['spread_error']:.2f})"
                for r in targets.values()
            ]
            rows.append([solver, next(iter(targets.values()))["nfe"], *cells, f"{worst:+.2f}"])
        parts.append(f"{title}\n\n" + _table(["solver", "NFE", *reference, "excess"], rows))
    return "\n\n".join(parts)


def precision_table() -> str:
    """float32 and what bfloat16 changes, of each solver measured in both."""
    parts = []
    for title, _, by_solver in _studies():
        rows = []
        for solver, lower in by_solver.items():
            full = by_solver.get(solver.removesuffix("_bfloat16"), lower)
            if full is lower:
                continue
            for target, row in lower.items():
                cells = [
                    f"{full[target][key]:.4f} {row[key] - full[target][key]:+.4f}"
                    for key in ("energy_score", "r2_inf", "spread_error")
                ]
                rows.append([solver.removesuffix("_bfloat16"), target, *cells])
        if rows:
            header = ["solver", "target", "energy score", "R2 of the mean", "spread over error"]
            parts.append(f"{title}\n\n" + _table(header, rows))
    return "\n\n".join(parts)


def members_table() -> str:
    """Ensembles that predict together, and the same that take turns."""
    rows, header = [], ["models", "target"]
    for _, method, by_solver in _studies():
        if not any(solver.endswith("_mixture") for solver in by_solver):
            continue
        header = ["models", "target", *(f"{name}, NFE" for name in by_solver)]
        for target in next(iter(by_solver.values())):
            cells = [
                f"{r['energy_score']:.3f} {r['excess']:+.3f} ± {r['excess_se']:.3f} "
                f"({r['r2_inf']:.3f}, {r['spread_error']:.2f}), {r['nfe']}"
                for r in (own[target] for own in by_solver.values())
            ]
            rows.append(["multi" if method == "multi" else "single", target, *cells])
    return _table(header, rows)


def autoencoder_table() -> str:
    result = _load("autoencoder.json")
    size, fits, loading = result["size"], result["fit"], result["load"]
    whole, equal = size["table_mb"], "bitwise equal" if result["equal"] else "NOT equal"
    places = {
        "device": "in the device's memory",
        "host": "in the host's, streamed",
        "disk": "in a memory-mapped file, streamed",
    }
    return "\n\n".join(
        [
            f"{size['features']:,} features x {size['rows']:,} samples ({whole / 1024:.1f} GiB), "
            f"{fits['device']['parameters'] / 1e6:.0f} million parameters, batches of 64; "
            f"{result['machine']}, JAX {result['versions']['jax']}; medians of {result['rounds']}, "
            f"load average {result['load_average']:.0f} from other programs.",
            _table(
                ["The training table lies", "samples/s", "peak memory, MiB", "peak / table"],
                [
                    [
                        place,
                        f"{fits[name]['samples_per_s']:.0f}",
                        f"{fits[name]['peak_mb']:.0f}",
                        f"{fits[name]['peak_mb'] / whole:.1f}",
                    ]
                    for name, place in places.items()
                ],
            ),
            f"Loading the cohort took {loading['seconds']:.0f} s and at most "
            f"{loading['peak_mb']:.0f} MiB ({loading['peak_mb'] / whole:.1f} tables); reading the "
            f"table alone {fits['host']['table_read_peak_mb']:.0f} MiB. The losses of all places "
            f"are {equal}.",
        ]
    )


def resume_table() -> str:
    result = _load("resume.json")
    saved, stop, kill = result["checkpoint"], result["SIGTERM"], result["SIGKILL"]
    rows = [
        [
            f"a checkpoint of {saved['models']} models ({saved['mb']:.0f} MiB): holds up training",
            f"{saved['held_up_seconds']:.2f}",
        ],
        ["is on disk after", f"{saved['written_seconds']:.2f}"],
        ["is read again in", f"{saved['read_seconds']:.2f}"],
        [
            f"SIGTERM: ended after (an epoch with validation: {stop['usual_epoch_seconds']:.1f})",
            f"{stop['seconds_to_stop']:.1f}",
        ],
    ]
    for name, how in (("SIGTERM", stop), ("`kill -9`", kill)):
        rows += [
            [
                f"resumed after {name} in or after epoch {how['epoch_of_last_report'] + 1}, from "
                f"epoch {how['resumed_at_epoch'] + 1}: process start to training",
                f"{how['seconds_to_training']:.1f}",
            ],
            [
                f"the first epoch then, instead of {how['usual_epoch_seconds']:.1f}",
                f"{how['first_epoch_seconds']:.1f}",
            ],
        ]
    where = (
        f"{result['cohort']}; {result['machine']}, JAX {result['versions']['jax']}; load average "
        f"{result['load_average']:.0f} from other programs."
    )
    return f"{where}\n\n" + _table(["", "seconds"], rows)


GROWTH_COLUMNS = {
    "generated": "generated",
    "read_mb": "read, MiB",
    "single_seconds": "training single-condition models, seconds",
    "single_mb": "their weights, MiB",
}


def growth_table() -> str:
    from benchmarks.growth import exponent

    result, texts = _load("growth.json"), []
    for part, rows in result["parts"].items():
        more = {k: name for k, name in GROWTH_COLUMNS.items() if k in rows[0]}
        header = ["size", "seconds", "of the processor", "peak memory, MiB", "load before"]
        table = _table(
            [*header, *more.values()],
            [
                [
                    f"{row['size']:,}",
                    *(f"{row[k]:.0f}" for k in ("seconds", "cpu_seconds", "peak_mb")),
                    f"{row['load_before']:.1f}",
                    *(f"{row[k]:,.0f}" for k in more),
                ]
                for row in rows
            ],
        )
        told = f"**{part.replace('_', ', ')}**"
        if len(rows) > 1:
            told += (
                f": exponent {exponent(rows, 'cpu_seconds'):.2f} of processor seconds, "
                f"{exponent(rows, 'peak_mb'):.2f} of peak memory"
            )
        if "generated" in rows[-1]:
            rate = rows[-1]["size"] / rows[-1]["seconds"]
            told += f"; {rate:.0f} patients a second at the largest size"
        texts.append(f"{told}.\n\n{table}")
    where = f"{result['machine']}, JAX {result['versions']['jax']}; other programs ran beside it."
    return "\n\n".join([where, *texts])


def recipe_table() -> str:
    """What each variant reached, and in what time relative to the base of the same kind."""
    study = _load("recipe_study.json")
    rows = []
    for name, row in study.items():
        kind, variant, _ = name.split(" | ")
        base = study[f"{kind} | base | seed 0"]
        energy = [f"{min(curve):.3f}" for curve in row["energy"].values()]
        if kind == "multi":
            time = row["seconds_per_model_epoch"] / base["seconds_per_model_epoch"]
            rows.append([variant, row["epochs"][-1], f"{time:.2f}", *energy])
    models = [model for model in study["multi | base | seed 0"]["energy"]]
    return _table(["variant", "epochs", "time of an epoch / base", *models], rows)


def regularisation_table() -> str:
    """The best score of each model under each variant, the best of a row in bold."""
    study = _load("regularisation_study.json")
    scores: dict[str, dict[str, float]] = {}
    for name, row in study.items():
        for model, curve in row["energy"].items():
            scores.setdefault(model, {})[name.split(" | ")[1]] = min(curve)
    variants = sorted({v for row in scores.values() for v in row}, key=_by_strength)
    rows = [
        [
            model,
            *(
                ("**{:.3f}**" if row[v] == min(row.values()) else "{:.3f}").format(row[v])
                if v in row
                else ""
                for v in variants
            ),
        ]
        for model, row in scores.items()
    ]
    return _table(["", *variants], rows)


def _by_strength(variant: str) -> tuple[float, ...]:
    """Sorts from weak to strong decay, and from much to little noise."""
    decay, noise = map(float, re.findall(r"[\d.]+", variant))
    return decay, -noise


def training_table() -> str:
    files = sorted(HERE.glob("training*.json"), key=lambda path: len(path.name))
    texts = []
    for name, part in [item for path in files for item in _load(path.name).items()]:
        where = _where(part["about"])
        texts.append(f"**{name}** ({where})\n\n" + _TRAINING[name](part["results"]))
    return "\n\n".join(texts)


SMALL = ("coherent", "multi", "regression", "kernel_ridge", "ridge", "climatology")
"""Methods of small_cohorts.json; the first two where runs were trained."""


def small_cohort_row(splits: dict[str, Any], target: str) -> dict[str, Any]:
    """One target of one cohort over its splits: CRPS of each method, the differences of the
    stacked consensus, or of the regression where no run was trained, from ridge and from the
    training average with their standard errors over patients, and how its draws vary."""
    of = [split[target] for split in splits.values() if target in split]
    patients = np.concatenate([one["patients"] for one in of])
    score = {
        method: np.concatenate([np.array(one["methods"][method]["crps"], float) for one in of])
        for method in SMALL
        if all(method in one["methods"] for one in of)
    }
    mine = next(iter(score))
    row: dict[str, Any] = {
        "trained": round(np.mean([one["trained"] for one in of])),
        "held out": f"{len(of)} x {round(len(patients) / len(of))}",
        **{method: float(np.nanmean(own)) for method, own in score.items()},
    }
    for against in ("ridge", "climatology"):
        less = score[mine] - score[against]
        there = np.isfinite(less)
        row[f"less {against}"] = float(less[there].mean())
        row[f"error {against}"] = error_of_mean(less[there], patients[there])
    for key in ("variance_ratio", "coverage80"):
        row[key] = float(np.mean([one["methods"][mine][key] for one in of]))
    return row


def small_cohorts_table() -> str:
    rows = [
        {"cohort": cohort, "target": target, **small_cohort_row(splits, target)}
        for cohort, splits in _load("small_cohorts.json").items()
        for target in next(iter(splits.values()))
    ]
    return _table(
        [
            *("cohort", "target", "trained", "splits x held out"),
            *(name.replace("_", " ") for name in SMALL),
            *("less ridge", "less average", "variance ratio", "80 % coverage"),
        ],
        [
            [row["cohort"], row["target"], row["trained"], row["held out"]]
            + [f"{row[name]:.3f}" if name in row else "" for name in SMALL]
            + [
                f"{row[f'less {against}']:+.3f} ± {row[f'error {against}']:.3f}"
                for against in ("ridge", "climatology")
            ]
            + [f"{row['variance_ratio']:.2f}", f"{row['coverage80']:.2f}"]
            for row in rows
        ],
    )


def _of_runs(file: str) -> str:
    """A block a run: of every table the default, and the others beside it."""
    blocks = []
    for name, part in _load(file).items():
        about, rows = part["about"], part["results"]
        note = f"; {about['note']}" if "note" in about else ""
        load = f"load average before {about['load_average_before']:.0f}"
        where = f"**{name}** ({about['device']}, {about['cpu_count']} cores, {load}{note})"
        made = _seconds(rows) if name.endswith(" seconds") else _by_solver(rows)
        blocks.append(f"{where}\n\n{made}")
    return "\n\n".join(blocks)


def step_grids_table() -> str:
    """Of every grid of few levels, how far it ends from the end of the chain."""
    blocks = []
    for name, part in _load("step_grids.json").items():
        rows = []
        for row in part["results"]:
            levels, off = row["levels"], list(row["off"].values())
            named = isinstance(levels, str)
            label = levels if named else ", ".join(f"{level:.2f}" for level in levels)
            rows.append([label, f"{sum(off) / len(off):.4f}", f"{max(off):.4f}"])
        table = _table(["levels after pure noise", "mean", "worst target"], rows)
        blocks.append(f"**{name}**\n\n{table}")
    return "\n\n".join(blocks)


def _by_solver(rows: list[dict[str, Any]]) -> str:
    cells: dict[tuple[str, str, int], dict[str, str]] = {}
    default = {(row["method"], row["target"]): row["crps"] for row in reversed(rows)}
    for row in rows:
        of = row["method"], row["target"]
        more = 100 * (row["crps"] / default[of] - 1)
        crps = f"{row['crps']:.4f}" if row["crps"] == default[of] else f"{more:+.2f} %"
        rest = f"{row['coverage']:.3f} / {row['variance_ratio']:.3f}"
        cells.setdefault((*of, row["patients"]), {})[row["solver"]] = f"{crps} / {rest}"
    solvers = list(dict.fromkeys(row["solver"] for row in rows))
    return _table(
        ["method", "target", "patients", *solvers],
        [[*of, *(found.get(solver, "") for solver in solvers)] for of, found in cells.items()],
    )


def _seconds(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["seconds"])
    return _table(
        ["method", "target", *names],
        [
            [row["method"], row["target"], *(f"{row['seconds'][name]:.2f}" for name in names)]
            for row in rows
        ],
    )


def _flat(rows: list[dict[str, Any]]) -> str:
    """Rows of numbers as they are, three digits, or all before the point."""

    def cell(value: object) -> object:
        if isinstance(value, float):
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        return "" if value is None else value

    header = [name.replace("_", " ") for name in rows[0]]
    return _table(header, [list(map(cell, row.values())) for row in rows])


def _score_text(found: dict[str, Any]) -> str:
    text, sums = _flat(found["models"]), found["totals"]
    if not sums["reached"]:
        return f"{text}\n\nNot every model reached the baseline's best within the epochs given."
    return (
        f"{text}\n\nAll 16 models, seconds an epoch of each kind times these epochs: PyTorch "
        f"{sums['torch_s']:.0f} s and {sums['torch_validation_s']:.0f} s of validations (in full, "
        f"every 200 epochs), library {sums['ours_s']:.0f} s and {sums['compile_s']:.0f} s of "
        f"compilation: {sums['speedup']:.1f} times faster, "
        f"{sums['speedup_without_compilation']:.1f} with a filled compilation cache."
    )


_TRAINING: dict[str, Callable[[Any], str]] = {
    "score": _score_text,
    "models": _flat,
    "overhead": _flat,
    "scaling": _flat,
}
TABLES: dict[str, Callable[[], str]] = {
    "equal steps": lambda: _of_every_device("steps", steps_table),
    "equal quality": lambda: _of_every_device("quality", quality_table),
    "evaluation": lambda: _of_every_device("evaluation", evaluation_table),
    "startup": lambda: _of_every_device("startup", startup_line),
    "sweeps": lambda: _of_every_device("sweeps", sweep_table),
    "solver study": study_table,
    "few evaluations": lambda: _of_runs("few_evaluations.json"),
    "students": lambda: _of_runs("students.json"),
    "step grids": step_grids_table,
    "precision": precision_table,
    "members": members_table,
    "autoencoder": autoencoder_table,
    "resume": resume_table,
    "training": training_table,
    "compilation": lambda: _of_every_device("compilation", _flat, "compilation"),
    "growth": growth_table,
    "recipe": recipe_table,
    "regularisation": regularisation_table,
    "peers": lambda: peers_table.full(_table),
    "peers short": lambda: peers_table.short(_table),
    "small cohorts": small_cohorts_table,
}
ELSEWHERE = {"peers short": HERE.parent / "docs" / "rivals.md"}
"""Tables that stand in another file than README.md."""


if __name__ == "__main__":
    refresh()
