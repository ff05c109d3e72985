"""peers.json as tables: all of it for benchmarks/README.md, the short one for docs/rivals.md."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rivals import RIVALS

RESULT = Path(__file__).with_name("peers.json")
OURS = {"coherent": "Coherent Denoising, stacked", "multi": "Multi-condition model"}
TITLES = {**OURS, **{name: rival.title for name, rival in RIVALS.items()}}
AHEAD = 2.0
"""Standard errors of the paired difference beyond which one method is ahead of another."""

COSTS = ("training, s (CPU)", "1,000 patients x 10 draws, s (CPU)", "peak MB")
Table = Callable[[Sequence[str], list[Sequence[object]]], str]


def full(table: Table) -> str:
    """A table a cohort, who is ahead of whom, and what a reader has to know of each rival."""
    from benchmarks.peers import COHORTS  # which imports JAX

    result = json.loads(RESULT.read_text())
    machine = result["about"]["machine"]
    parts = [f"{machine}, Python {result['about']['python']}, {_dates(result)}."]
    for name, cohort in result["cohorts"].items():
        sizes = cohort["patients"]
        targets = list(cohort["methods"]["multi"]["targets"])
        trained = "" if cohort["trained"] else _LOGGED
        parts.append(
            f"**{name}**: {sizes['train']} patients to train, {sizes['val']} to validate, "
            f"{sizes['test']} held out; recipe `{cohort['recipe']}`; load average before each: "
            f"{_loads(cohort)}.{trained}"
        )
        parts.append(table(["", *targets, *COSTS], [_row(cohort, m, targets) for m in TITLES]))
    left = [name for name in COHORTS if name not in result["cohorts"]]
    if left:
        parts.append(f"Not run: {', '.join(left)}.")
    return "\n\n".join([*parts, _verdicts(result), _packages(result)])


def short(table: Table) -> str:
    """CRPS alone, mean over the targets of each cohort that a method was measured on; of a cohort
    that was split anew, the first split."""
    every = json.loads(RESULT.read_text())["cohorts"]
    cohorts = {name: cohort for name, cohort in every.items() if "of" not in cohort}
    rows = []
    for method, title in TITLES.items():
        cells = []
        for cohort in cohorts.values():
            found = cohort["methods"].get(method, {"status": "not run"})
            scores = [t["crps"] for t in found.get("targets", {}).values()]
            whole = len(scores) == len(cohort["methods"]["multi"]["targets"])
            cells.append(f"{sum(scores) / len(scores):.3f}" if whole else _why(found))
        rows.append([title, *cells])
    return table(["", *cohorts], rows)


_LOGGED = (
    " The library's run was trained before: seconds from its log, by the clock, whatever ran "
    "beside it, memory of drawing alone."
)


def _row(cohort: dict[str, Any], method: str, targets: list[str]) -> list[str]:
    found = cohort["methods"].get(method, {"status": "not run"})
    if found["status"] != "measured":
        return [TITLES[method], _why(found), *[""] * (len(targets) + 2)]
    cells = [_score(method, found["targets"].get(t), found) for t in targets]
    cpu = found["train_cpu_s"]
    training = f"{found['train_s']:.0f}" + (f" ({cpu:.0f})" if cpu is not None else "")
    drawing = f"{found['draw_s']:.1f} ({found['draw_cpu_s']:.1f})"
    if found["compile_s"]:
        drawing += f" after {found['compile_s']:.0f} of compilation"
    peak = "" if found["peak_mb"] is None else f"{found['peak_mb']:.0f}"
    return [TITLES[method], *cells, training, drawing, peak]


def _score(method: str, scores: dict[str, Any] | None, found: dict[str, Any]) -> str:
    if scores is None:
        return _why(found)
    crps, coverage = f"{scores['crps']:.3f}", f"{scores['coverage']:.0%}"
    beside = scores["against"].get("multi")
    if method in OURS or beside is None:
        return f"{crps}, {coverage}"
    return f"{crps} ({beside['difference']:+.3f} ± {beside['se']:.3f}), {coverage}"


def _why(found: dict[str, Any]) -> str:
    """Of a method that has no score: what happened, in words that a table holds."""
    reason = " ".join(str(found.get("reason", "")).replace("|", "/").split())
    status = found["status"] if found["status"] != "measured" else "not run"
    return f"{status}: {reason}" if reason else status


def _paired(result: dict[str, Any], rival: str, ours: str) -> Iterator[tuple[str, float]]:
    """What was compared, and how far the rival is behind, in standard errors: the mean over the
    held-out patients of all splits of a cohort."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for name, cohort in result["cohorts"].items():
        targets = cohort["methods"].get(rival, {}).get("targets", {})
        for target, scores in targets.items():
            beside = scores["against"].get(ours)
            if beside and beside["se"] > 0:
                of_split = scores["patients"], beside["difference"], beside["se"]
                found.setdefault(f"{cohort.get('of', name)} {target}", []).append(of_split)
    for what, splits in found.items():
        difference = sum(patients * value for patients, value, _ in splits)
        yield what, difference / math.sqrt(sum((patients * se) ** 2 for patients, _, se in splits))


def _verdicts(result: dict[str, Any]) -> str:
    """What each rival is, and on how many tables the library's models are ahead, level, behind."""
    lines = []
    for rival, entry in RIVALS.items():
        texts = [entry.about]
        for ours, own in OURS.items():
            found = dict(_paired(result, rival, ours))
            if not found:
                continue
            ahead = sum(z > AHEAD for z in found.values())
            behind = [f"{what} ({-z:.1f} se)" for what, z in found.items() if z < -AHEAD]
            level = len(found) - ahead - len(behind)
            text = f"{own.lower()} ahead on {ahead} of {len(found)} tables, level on {level}"
            texts.append(text + (f", behind on {', '.join(behind)}" if behind else ""))
        lines.append(f"- {entry.title}: {'; '.join(texts)}.")
    return "\n".join(lines)


def _dates(result: dict[str, Any]) -> str:
    times = [f["time"] for c in result["cohorts"].values() for f in c["methods"].values()]
    first, last = min(times)[:10], max(times)[:10]
    return first if first == last else f"{first} to {last}"


def _loads(cohort: dict[str, Any]) -> str:
    loads = [f["load_average_before"] for f in cohort["methods"].values()]
    return f"{min(loads):.1f} to {max(loads):.1f}"


def _packages(result: dict[str, Any]) -> str:
    """Versions of everything that was measured, each once."""
    found: dict[str, set[str]] = {}
    for cohort in result["cohorts"].values():
        for method in cohort["methods"].values():
            for name, version in method.get("versions", {}).items():
                found.setdefault(name, set()).add(version)
    return ", ".join(f"{n} {' and '.join(sorted(v))}" for n, v in sorted(found.items())) + "."
