"""The audit: raw units, privacy, patients unlike those of training."""

from __future__ import annotations

from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Picture, Table, Text
from cohgen_jax.runs.typicality import ATYPICAL


def raw_space(run: RunFiles) -> list[Block]:
    figures = {
        "raw_scores": "Whole draws beside measured values, in the units of the tables: "
        "correlation of features over patients and what is kept of their structure, with "
        "baselines that draw whole patients too. The black line is what the codec alone brings "
        "back of real patients.",
        "raw_links": "Known biology: does a gene's expression follow its own copy number in "
        "generated data as it does in measured data?",
    }
    tables = {
        "raw_scores": "Scores by target and method",
        "raw_dosage": "Gene dosage",
        "raw_links": "Links between measurements of the same gene",
        "raw_features": "Every feature",
        "intervals": "Coverage of the 80 % intervals of generated features",
    }
    return _shown(run, figures, tables)


def privacy(run: RunFiles) -> list[Block]:
    verdict = run.json("metrics/privacy.json")
    if verdict is None:
        return []
    held = verdict["worst_auc"] <= verdict["target_auc"]
    words = (
        f"The strongest attack tells training patients from others with an AUC of "
        f"{verdict['worst_auc']:.3f} ({verdict['worst']}; {verdict['members']} training patients "
        f"and as many others): {'within' if held else 'above'} the aim of at most "
        f"{verdict['target_auc']}. 0.5 is guessing."
    )
    figures = {
        "privacy_membership": "Membership inference: AUC of each attack, with its interval. "
        "Attacks that end in units compare measured tables with tables as they are released, "
        "feature by feature; the others see latents and models.",
        "privacy_distances": "Distance from generated records to the closest training record, "
        "beside the same for held-out patients. Closer would be a sign of copying; no closer does "
        "not rule out memory: see the attacks.",
    }
    tables = {
        "privacy_membership": "Membership inference",
        "privacy_distances": "Distances to the closest record",
        "privacy_attributes": "Attribute inference",
    }
    return [Text((words, verdict["statement"])), *_shown(run, figures, tables)]


def shift(run: RunFiles) -> list[Block]:
    figures = {
        "shift": "Patients unlike those of training, and assays that went wrong: error, spread, "
        "coverage, disagreement and share of patients flagged, beside untouched test patients."
    }
    return [*_set_aside(run), *_shown(run, figures, {"shift": "Shifted patients and assays"})]


def _set_aside(run: RunFiles) -> list[Block]:
    """A kind of patient kept out of training beside held-out patients of the others, by method."""
    table = run.table("shift")
    if table is None or "set aside" not in set(table["case"]):
        return []
    columns = {
        "n": "patients",
        "energy_score": "energy score",
        "coverage80": "coverage of 80 % intervals",
        "spread_error": "spread / error",
        "typicality": "typicality, median",
        "flagged": "share flagged",
    }
    shown = {"none": "test patients", "set aside": ", ".join(run.config["exclude"])}
    cases = table[table["case"].isin(shown)].replace({"case": shown})
    mean = cases.groupby(["method", "case"], sort=False)[list(columns)].mean()
    return [
        Text.of(
            f"The models never met patients with {shown['set aside']}. Generated from all other "
            "modalities, mean over the targets; a patient is flagged with a source of typicality "
            f"{ATYPICAL} or less: about 5 % of ordinary patients for each source."
        ),
        Table(mean.rename(columns=columns).reset_index(), "Patients set aside", open=True),
    ]


def _shown(run: RunFiles, figures: dict[str, str], tables: dict[str, str]) -> list[Block]:
    parts: list[Block] = [
        Picture(path, caption, caption)
        for name, caption in figures.items()
        if (path := run.figure(name)) is not None
    ]
    for name, title in tables.items():
        table = run.table(name)
        if table is not None:
            parts.append(Table(table, title, file=f"metrics/{name}.csv"))
    return parts
