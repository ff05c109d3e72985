"""Cohorts from MuData and AnnData files, and back, because that is what omics researchers hold.

    python -m data_prep.mudata_io to-cohort --source study.h5mu --out data/study
    python -m data_prep.mudata_io to-cohort --source a.h5ad b.h5ad --out data/study --layers a=raw
    python -m data_prep.mudata_io from-cohort --cohort data/study --out study.h5mu
    python -m data_prep.mudata_io write-back --source study.h5mu --generated DIR --out new.h5mu

Read     as cohgen_jax/interop/annotated.py says
Written  one modality a table, facts in `obs`; units, kinds of values and notes in `uns["cohort"]`;
         generated modalities as cohgen_jax/interop/completed.py says
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.cohort import Cohort, cohort_from, load_cohort, save_cohort
from cohgen_jax.cohort.load import parse_layers
from cohgen_jax.cohort.read import without_empty_rows
from cohgen_jax.errors import InputError
from cohgen_jax.interop.annotated import (
    EVERY,
    libraries,
    open_annotated,
    quiet,
    raw_tables_of_several,
)
from cohgen_jax.interop.completed import plain_anndata, save, write_back


def to_cohort(
    sources: Sequence[Path],
    out: Path,
    layers: str | Mapping[str, str] | None = None,
    **settings,
) -> Cohort:
    """A cohort directory from one file, or from several whose modalities are put together.

    Args:
        layers: what to read instead of X, of all modalities or by modality (`annotated`).
        settings: of `cohort_from`: seed, val_fraction, test_fraction, max_missing, min_train.
    """
    name = sources[0].stem if len(sources) == 1 else out.name
    source = ", ".join(path.name for path in sources)
    objects = [(open_annotated(path), path.stem) for path in sources]
    raw = raw_tables_of_several(objects, name, source, layers)
    cohort = cohort_from(without_empty_rows(raw), **settings)
    save_cohort(cohort, out)
    return cohort


def save_mudata(cohort: Cohort, path: str | Path) -> None:
    """A cohort as a `.h5mu` file; reading it back gives the same cohort."""
    _, mudata = libraries()
    path = Path(path)
    with quiet():
        whole = mudata.MuData({m: plain_anndata(cohort.tables[m]) for m in cohort.modalities})
        # mudata orders samples by first appearance; facts follow.
        facts = _storable(cohort.samples.reindex(whole.obs_names.astype(object)))
        for name in facts.columns:
            whole.obs[name] = (
                facts[name].to_numpy()
                if facts[name].dtype != "category"
                else (pd.Categorical(facts[name]))
            )
        whole.uns["cohort"] = {
            "name": cohort.name,
            "notes": np.array(cohort.notes, dtype=object),
            "units": dict(cohort.units),
            "kinds": dict(cohort.kinds),
        }
        save(whole, path)


def _storable(facts: pd.DataFrame) -> pd.DataFrame:
    """Facts as HDF5 can hold them: text as categories, the rest as it is."""
    out = facts.set_axis(pd.Index(facts.index.astype(object)), axis=0)
    for name in out.columns:
        if not pd.api.types.is_numeric_dtype(out[name]) and not pd.api.types.is_bool_dtype(
            out[name]
        ):
            text = [None if pd.isna(v) else str(v) for v in out[name]]
            out[name] = pd.Categorical(pd.Series(text, dtype=object))
    return out


def main() -> int:
    """Command line: to-cohort, from-cohort, write-back."""
    import tyro

    def make_cohort(
        source: tuple[Path, ...],
        out: Path,
        layer: str | None = None,
        layers: tuple[str, ...] = (),
        seed: int = 42,
        val_fraction: float = 0.07,
        test_fraction: float = 0.15,
        min_train: int = 64,
    ) -> None:
        """Makes a cohort directory from MuData or AnnData files.

        Args:
            source: a .h5mu or .h5ad file, or several that are one modality each.
            out: cohort directory to write.
            layer: layer to read instead of X, of every modality.
            layers: MODALITY=LAYER, of one (named after its file, if that is a .h5ad); raw is a
                layer too; NAME=obsm:KEY makes a modality of a table in obsm.
            seed: of the split, if the file has no column split.
            val_fraction: share of patients for validation.
            test_fraction: share of patients for test.
            min_train: fewest training patients a modality may have.
        """
        settings = {"seed": seed, "val_fraction": val_fraction, "test_fraction": test_fraction}
        chosen = {**({EVERY: layer} if layer else {}), **parse_layers(layers)}
        cohort = to_cohort(source, out, chosen, min_train=min_train, **settings)
        print(cohort.summary().to_string())

    def make_mudata(cohort: Path, out: Path) -> None:
        """Writes a cohort as a MuData file.

        Args:
            cohort: cohort directory.
            out: .h5mu file to write.
        """
        save_mudata(load_cohort(cohort), out)

    def add_generated(
        source: Path, generated: Path, out: Path, layers: tuple[str, ...] = ()
    ) -> None:
        """Adds generated modalities to a MuData or AnnData file.

        Args:
            source: .h5mu or .h5ad file.
            generated: folder of completed tables, as experiments/impute.py writes it.
            out: .h5mu file to write.
            layers: MODALITY=LAYER, as the source was read in training.
        """
        added = write_back(source, generated, out, parse_layers(layers))
        print(f"added {', '.join(added)}")

    commands = {
        "to-cohort": make_cohort,
        "from-cohort": make_mudata,
        "write-back": add_generated,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog="python -m data_prep.mudata_io")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
