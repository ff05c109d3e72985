"""The model card: what a model was made of, how good it is, what it is for and what it reveals.

Markdown with the YAML head that model hubs read (Mitchell et al. 2019, arXiv:1810.03993, for the
sections). Every number is the run's own; groups of fewer than LEAST patients are not counted out.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

import cohgen_jax
from cohgen_jax.codec.without_patients import LEAST
from cohgen_jax.errors import InputError
from cohgen_jax.evaluation.summary import in_units, summarise
from cohgen_jax.figures.style import method_label
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.sections.overview import REFERENCES, verdict
from cohgen_jax.runs.run import Run

PAPER = "https://doi.org/10.1371/journal.pcbi.1013455"
FEW_ROWS = 5
"""Training patients a component of a codec, below which its components are nearly the patients."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a run does not know of itself."""

    name: str = ""
    """Of the model; by default that of its folder."""
    license: str = "other"
    """Of the model, by the name that hubs use (cc-by-4.0, apache-2.0): what the data allow."""
    cohort: str = ""
    """The cohort in a few words: where its patients come from and how they were chosen."""
    contact: str = ""
    """Whom to ask."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if "\n" in getattr(self, field.name):
                raise InputError(f"--{field.name} must be one line")


def model_card(run: Run, lost: pd.DataFrame, facts: CardFacts, *, default_name: str) -> str:
    """README.md of a model that was exported from this run.

    lost: of `export.what_it_costs`; without rows where nothing was replaced.
    """
    files, name = RunFiles(run.path), facts.name or default_name
    conditions = files.table("fidelity")
    sections = [
        f"# {name}",
        _what(run),
        "## Use\n\n" + _use(run),
        "## Cohort\n\n" + _cohort(run, facts),
        "## Scores\n\n" + _scores(files, conditions),
        "## Calibration\n\n" + _calibration(files, conditions),
        "## Beside the run\n\n" + _beside(lost),
        "## What it is for\n\n" + FOR,
        "## Limits\n\n" + _limits(run, files),
        "## Privacy\n\n" + _privacy(files),
        f"## Provenance\n\nMade by cohgen_jax {cohgen_jax.__version__}; method: <{PAPER}>; "
        f"cohort checksum `{files.config['data_checksum']}`."
        + (f" Contact: {facts.contact}." if facts.contact else ""),
    ]
    return _head(name, run, files, conditions, facts) + "\n\n".join(sections) + "\n"


FOR = """Research: completing cohorts, asking which assay would tell most, testing hypotheses on
generated data with their spread. Not for a decision about a patient: what is generated is a
prediction with uncertainty, not a measurement, and holds nothing that the other assays do not
determine."""


def _head(
    name: str, run: Run, files: RunFiles, conditions: pd.DataFrame | None, facts: CardFacts
) -> str:
    """The YAML head; strings as JSON, which YAML reads."""
    lines = [
        "---",
        f"license: {json.dumps(facts.license)}",
        "library_name: cohgen_jax",
        "tags:",
        *(f"- {tag}" for tag in ("multi-omics", "imputation", "diffusion", "jax", "oncology")),
    ]
    results = _results(files, conditions)
    if results:
        lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:"]
        dataset = json.dumps(facts.cohort or "the cohort of the run")
        for target, metrics in results:
            title = json.dumps(f"{target} from all other assays")
            lines += [
                "  - task:",
                "      type: tabular-regression",
                f"      name: {title}",
                "    dataset:",
                f"      name: {dataset}",
                "      type: multi-omics",
                "    metrics:",
            ]
            for metric, title, value in metrics:
                lines += [f"    - type: {metric}", f"      name: {json.dumps(title)}"]
                lines += [f"      value: {value:.4f}"]
    return "\n".join([*lines, "---", "", ""])


def _results(
    files: RunFiles, conditions: pd.DataFrame | None
) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Target -> (metric, its name, value) of the best model."""
    if conditions is None:
        return []
    shown = (
        [("crps", "CRPS, in standard deviations", "units_crps"), ("r2", "R2", "units_r2")]
        if in_units(conditions)
        else [("energy_score", "Energy score of latents", "energy_score"), ("r2", "R2", "r2_inf")]
    )
    results = []
    for target, of_target in summarise(conditions).groupby("target", sort=False):
        of_target = of_target[~of_target["method"].isin(REFERENCES)]
        if len(of_target):
            best = of_target.iloc[int(of_target[shown[0][2]].to_numpy().argmin())]
            results.append((str(target), [(m, title, float(best[c])) for m, title, c in shown]))
    return results


def _what(run: Run) -> str:
    return (
        f"Generates any of {', '.join(run.modalities)} of a patient from whatever else was "
        "measured, many times over and in the units of the tables: Coherent Denoising and a "
        "multi-condition diffusion model, exported from a run of `cohgen_jax` without its patients."
    )


def _use(run: Run) -> str:
    first = run.modalities[0]
    return f"""```python
import pandas as pd

from cohgen_jax import open_run

model = open_run("path/of/this/folder")
completed = model.impute({{"{first}": pd.read_parquet("{first}.parquet")}})
```

Columns by the names of training (below), in its units; `cohgen impute --run` does the same with
folders."""


def _cohort(run: Run, facts: CardFacts) -> str:
    samples, latents = run.samples, run.latents
    split = samples["split"].to_numpy()
    rows = []
    for m, name in enumerate(run.modalities):
        codec, here = run.codecs[name], latents.present[:, m]
        kinds = sorted(set(codec.kinds))
        rows.append(
            [
                name,
                "+".join(kinds),
                len(codec.features),
                codec.width,
                *(_count(int((here & (split == side)).sum())) for side in ("train", "val", "test")),
            ]
        )
    heads = ["assay", "kind", "features", "latents", "to train", "to validate", "held out"]
    counts = samples["split"].value_counts()
    text = (f"{facts.cohort}\n\n" if facts.cohort else "") + (
        f"{len(samples)} samples: {counts.get('train', 0)} to train, {counts.get('val', 0)} to "
        f"validate, {counts.get('test', 0)} held out, split by patient.\n\n"
    )
    text += markdown(heads, rows)
    if "cancer_type" in samples:
        types = samples["cancer_type"].value_counts()
        told = [f"{name} {count}" for name, count in types.items() if count >= LEAST]
        if told:
            text += f"\n\nCancer types of {LEAST} samples or more: {', '.join(told)}."
    known = [column.name for column in run.covariates.columns]
    if known:
        text += f"\n\nEvery model also knows {', '.join(known)} where the samples table says it."
    shown = {
        name: f"{', '.join(map(str, codec.features[:3]))}, ..."
        for name, codec in run.codecs.items()
    }
    named = "; ".join(f"{name}: {text}" for name, text in shown.items())
    return text + f"\n\nNames of features begin with: {named}"


def _count(number: int) -> str:
    return str(number) if number >= LEAST or number == 0 else f"fewer than {LEAST}"


def _scores(files: RunFiles, conditions: pd.DataFrame | None) -> str:
    if conditions is None:
        return "The run was not evaluated before it was exported (`cohgen evaluate`)."
    summary = summarise(conditions)
    units = in_units(summary)
    score, r2 = ("units_crps", "units_r2") if units else ("energy_score", "r2_inf")
    rows = [
        [row.target, method_label(str(row.method)), f"{getattr(row, score):.4f}",
         f"{getattr(row, r2):.3f}", row.n]
        for row in summary.itertuples()
    ]  # fmt: skip
    models = [m for m in dict.fromkeys(summary["method"]) if m not in REFERENCES]
    lines = verdict(summary, models, files.evaluated, files.table("against_baselines"))
    name = "CRPS (standard deviations of each feature)" if units else "energy score of latents"
    return (
        f"Of the run, on {files.evaluated}, each assay generated from all others that a patient "
        f"has. Lower {name} is better.\n\n{lines[0]}\n\n"
        + markdown(["assay", "method", name, "R2 of the posterior mean", "patients"], rows)
    )


def _calibration(files: RunFiles, conditions: pd.DataFrame | None) -> str:
    if conditions is None:
        return "Draws are calibrated on validation patients; it was not measured on held-out ones."
    summary = summarise(conditions)
    of_models = summary[~summary["method"].isin(REFERENCES)]
    coverage = "units_coverage80" if in_units(of_models) else "coverage80"
    rows = [
        [row.target, method_label(str(row.method)), f"{row.spread_error:.2f}",
         f"{getattr(row, coverage):.2f}"]
        for row in of_models.itertuples()
    ]  # fmt: skip
    return (
        "Spread over error is 1, and 80 % intervals hold 0.80 of the measured values, when a model "
        "knows what it does not know.\n\n"
        + markdown(["assay", "method", "spread / error", "80 % intervals hold"], rows)
    )


def _beside(lost: pd.DataFrame) -> str:
    if not len(lost):
        return "The run has no kernel regressions: the model draws as the run does."
    rows = [
        [method_label(str(row.method)), row.target, f"{row.run:.3f}", f"{row.model:.3f}",
         f"{row.difference:+.3f} ± {row.se:.3f}", row.patients]
        for row in lost.itertuples()
    ]  # fmt: skip
    return (
        "The run's kernel regressions keep training patients; in the model they are fitted anew on "
        "centres that are nobody. The scores above are the run's. Energy score of latents on "
        "held-out patients, lower is better:\n\n"
        + markdown(["method", "assay", "run", "model", "difference", "patients"], rows)
    )


def _limits(run: Run, files: RunFiles) -> str:
    split, latents = run.samples["split"].to_numpy(), run.latents
    lines = [
        "A model of one cohort: patients who were chosen or measured differently are drawn as if "
        "they belonged to it. `typicality` in what `impute` returns warns of assays unlike those "
        "of training.",
        "Features that training did not have are not generated; those that it had must be there, "
        "by name.",
        "Assays of new patients are ranked, and runs trained, evaluated and audited, with the run "
        "alone.",
    ]
    for m, name in enumerate(run.modalities):
        num = int((latents.present[:, m] & (split == "train")).sum())
        if num < FEW_ROWS * run.codecs[name].width:
            lines.append(
                f"{name}: {run.codecs[name].width} components of {num} training patients; what "
                "they span is nearly the patients themselves (Privacy)."
            )
    return "\n".join(f"- {line}" for line in lines)


def _privacy(files: RunFiles) -> str:
    text = (
        "No record, sample id or latent of a patient is in the model, no smallest or largest value "
        f"of a feature, and no validation statistic of fewer than {LEAST} patients. Quantiles and "
        "frequencies of features, components of codecs and weights of networks are. These can "
        "still tell whether somebody whose record is known was among the training patients: "
        "membership inference is measured by `cohgen audit --analyses privacy`, on the run.\n\n"
    )
    audit = files.table("privacy_membership")
    if audit is None:
        return text + "**The run was not audited before it was exported.**"
    numbers = audit.select_dtypes(np.number).columns
    columns = [
        c for c in ("method", "target", "attack", "auc", "auc_low", "auc_high") if c in audit
    ]
    rows = [
        [f"{value:.3f}" if column in numbers else value
         for column, value in zip(columns, row, strict=True)]
        for row in audit[columns].itertuples(index=False)
    ]  # fmt: skip
    return (
        text + "Attacks on the run, which had its exact regressions (an AUC of 0.5 is guessing):"
        "\n\n" + markdown(columns, rows)
    )


def markdown(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; what it holds cannot end a cell or a line."""

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(str(c).replace("|", "/").replace("\n", " ") for c in cells) + " |"

    return "\n".join([line(heads), "|" + " --- |" * len(heads), *map(line, rows)])
