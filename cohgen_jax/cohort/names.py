"""Names that completed tables need for themselves, refused before anything is trained."""

import re
from collections.abc import Collection, Mapping

import pandas as pd

from cohgen_jax.cohort.idcolumns import ID_COLUMNS
from cohgen_jax.cohort.tables import COMPANIONS, DRAW
from cohgen_jax.errors import InputError

RESERVED = ("disagreement", "samples", "clinical", "cohort", "covariates")
"""Files beside the tables of the modalities."""
_NO_FILE = re.compile(r"[/\\\x00-\x1f]|^\.|^$")


def check_names(tables: Mapping[str, pd.DataFrame]) -> None:
    """Refuse modalities and features whose generated tables would have the name of something else.

    Raises:
        InputError: naming the modality or the feature, and what to rename.
    """
    for name, table in tables.items():
        if _NO_FILE.search(name):
            raise InputError(
                f"modality {name!r} cannot be the name of a file: rename it without / and \\, and "
                "without a dot in front"
            )
        if name.lower() in RESERVED:
            raise InputError(
                f"modality {name!r} has the name of a file that is written beside the completed "
                "tables: rename it"
            )
        for other in (f"{name}_{companion}" for companion in COMPANIONS):
            if other in tables:
                raise InputError(
                    f"modalities {name!r} and {other!r}: the completed tables of the first have "
                    "the name of the second; rename one of them"
                )
        if DRAW in table.columns:
            raise InputError(
                f"{name} has a feature called {DRAW!r}, which is the number of the draw in "
                "generated tables: rename it"
            )
        ids = [column for column in ID_COLUMNS if column in table.columns]
        if ids:
            raise InputError(
                f"{name} has a feature called {ids[0]!r}, which is the name of the ids in "
                "generated tables: rename it"
            )
    _check_models(tables)


def _check_models(modalities: Collection[str]) -> None:
    """The model of cna from rna is called cna_from_rna: no two may be called alike."""
    models: dict[str, tuple[str, str]] = {}
    for target in modalities:
        for source in modalities:
            name = f"{target}_from_{source}"
            if target != source and models.setdefault(name, (target, source)) != (target, source):
                other = models[name]
                raise InputError(
                    f"modalities {target!r}, {source!r}, {other[0]!r} and {other[1]!r}: two models "
                    f"would be called {name}; rename one of them"
                )
