"""The report of a run: one HTML page that opens without a network, prints, and can be mailed.

It shows whatever the run directory holds, and names the command for what it does not hold yet.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from cohgen_jax.report.files import RunFiles
from cohgen_jax.report.glossary import GLOSSARY
from cohgen_jax.report.page import Section, render
from cohgen_jax.report.sections import CHAPTERS
from cohgen_jax.report.sections.embedding import compute_umap
from cohgen_jax.storage.checkpoint import write_text


def write_run_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Draw the figures of a run and write its report from the tables it holds.

    Nothing is generated or fitted: a report takes seconds. Figures go to `run_dir`/figures.

    Args:
      run_dir: a run directory.
      out: the page to write; `run_dir`/report.html by default.

    Returns:
      The path of the page.

    Raises:
      InputError: not a run directory, or a file in it is damaged.
    """
    run = RunFiles(run_dir)
    sections, absent = [], []
    for chapter in CHAPTERS:
        blocks = chapter.blocks(run)
        if blocks:
            sections.append(Section(chapter.anchor, chapter.title, blocks))
        else:
            absent.append((chapter.title, f"python {chapter.made_by.format(run=run.path)}"))
    page = render(
        f"Generating {', '.join(run.modalities)}: {Path(run.config['cohort']).name}",
        sections,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        absent=absent,
        glossary=GLOSSARY,
    )
    path = run.path / "report.html" if out is None else Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


__all__ = ["RunFiles", "compute_umap", "write_run_report"]
