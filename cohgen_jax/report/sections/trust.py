"""When to trust the draws: reliability, ranks, spread against error, consensus against members."""

from __future__ import annotations

from cohgen_jax.evaluation.honesty import Honesty
from cohgen_jax.figures.curves import disagreement_curves
from cohgen_jax.figures.style import save
from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.page import Block, Heading, Picture, Table

FIGURES = ("reliability", "rank_histogram", "risk_coverage", "temperature")
TABLES = {
    "uncertainty": "Does spread or disagreement predict the error?",
    "temperature": "Between draws and the posterior mean",
}


def honest(run: RunFiles) -> list[Block]:
    """Of patients: is the uncertainty of each worth anything?"""
    tables = {name: run.table(name) for name in FIGURES}
    parts: list[Block] = [
        Picture(save(figure, run.path / "figures" / name), caption, caption)
        for name, figure, caption in Honesty(
            {name: table for name, table in tables.items() if table is not None}
        ).figures(run.fullest)
    ]
    return parts + _tables(run, TABLES)


def consensus(run: RunFiles) -> list[Block]:
    """Of the ensemble: is the consensus better than its best member, where do members disagree?"""
    parts: list[Block] = _tables(
        run,
        {
            "consensus_verdicts": "Consensus against its best member, counted",
            "consensus_against_members": "Consensus against its best member, on the same patients",
        },
    )
    table = run.table("disagreement")
    if table is not None:
        caption = (
            "1 - mean cosine between the predictions of the single-condition models along the "
            "reverse chain, from every source: mean and middle 80 % of patients. Early steps are "
            "noise that nobody can predict; late ones show whether the sources tell one story."
        )
        figure = save(disagreement_curves(table), run.path / "figures" / "disagreement")
        parts += [
            Heading("Disagreement along the chain"),
            Picture(figure, caption, "Disagreement against diffusion time, a panel for a target."),
        ]
    return parts


def _tables(run: RunFiles, names: dict[str, str]) -> list[Block]:
    return [
        Table(table, heading, file=f"metrics/{name}.csv", open=len(table) <= 12)
        for name, heading in names.items()
        if (table := run.table(name)) is not None
    ]
