"""From tables as they stand in files to measurements of samples, each under one id.

cleaned     what is no measurement left out, codes of missing values empty, one spelling of each id
measured    samples whose assay was not done left out, as far as their kind of values tells

The tables of a cohort and those of new patients go through both.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType

import pandas as pd

from cohgen_jax.cohort.copies import copied_samples_told
from cohgen_jax.cohort.foreign import without_foreign
from cohgen_jax.cohort.ids import one_spelling_of_tables
from cohgen_jax.cohort.kinds import Kind
from cohgen_jax.cohort.missing import without_codes, without_zero_rows, zero_blocks_told
from cohgen_jax.cohort.read import RawTables, without_empty_rows


def cleaned(
    raw: RawTables, needed: Mapping[str, Collection[str]] = MappingProxyType({})
) -> tuple[RawTables, dict[str, str]]:
    """The tables of measurements alone, and ids that may be those of others (`ids.Joined.kin`).

    What was changed, and what looks as if it should be, is in the notes.

    needed: modality -> features that are measurements, whatever they look like.
    """
    notes: list[str] = []
    tables: dict[str, pd.DataFrame] = {}
    for name, table in raw.tables.items():
        features = without_foreign(name, table, notes, needed.get(name, ()))
        tables[name] = without_codes(name, features, notes)
    tables, joined = one_spelling_of_tables(tables)
    notes += joined.notes
    raw = raw._replace(tables=tables, notes=(*raw.notes, *notes))
    return without_empty_rows(raw), joined.kin


def measured(raw: RawTables, kinds: Mapping[str, Kind]) -> RawTables:
    """The tables without samples that are zero throughout for want of the assay; zeros and copies
    that look strange are told. kinds: modality -> kind of its values."""
    notes: list[str] = []
    tables = {m: without_zero_rows(m, t, kinds[m], notes) for m, t in raw.tables.items()}
    for name, table in tables.items():
        notes += zero_blocks_told(name, table, kinds[name])
        notes += copied_samples_told(name, table, kinds[name])
    return raw._replace(tables=tables, notes=(*raw.notes, *notes))
