"""Reading `TcgaMultimodal` back: as a `Cohort`, or as shuffled batches that resume exactly.

cohort = load_tfds_cohort("tfds:data/tfds/tcga_multimodal/raw/1.0.0")
cohort = load_tfds_cohort("tfds:tcga_multimodal/raw@data/tfds")
batches = grain_batches(tfds.data_source(...), batch_size=64, seed=0)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cohgen_jax.cohort import SPLITS, Cohort, Origin
from cohgen_jax.errors import InputError

PREFIX = "tfds:"
TEXT_FACTS = ("patient_id", "cancer_type", "stage")
NUMBER_FACTS = ("os_event", "os_days")
"""Of a record; whatever else is known of a sample is in its labels."""


def open_builder(spec: str) -> Any:
    """The built dataset that `spec` names, as a read-only tensorflow-datasets builder.

    Args:
        spec: `tfds:DIRECTORY` (the dataset's own folder or one above it, as long as only one
            dataset is in it), or `tfds:NAME/CONFIG[@DATA_DIR]`; the prefix may be left out.
    """
    import tensorflow_datasets as tfds

    place = spec.removeprefix(PREFIX)
    folder = Path(place)
    if folder.is_dir():
        datasets = sorted(p.parent for p in folder.rglob("dataset_info.json"))
        datasets = [p for p in datasets if not p.name.startswith("incomplete.")]
        if len(datasets) != 1:
            raise InputError(
                f"{place} holds {len(datasets)} datasets"
                + (f" ({', '.join(map(str, datasets))}): name one" if datasets else "")
            )
        return tfds.builder_from_directory(datasets[0])
    name, _, data_dir = place.partition("@")
    try:
        return tfds.builder(name, data_dir=data_dir or None)
    except (tfds.core.DatasetNotFoundError, ValueError, FileNotFoundError) as error:
        raise InputError(
            f"no dataset {name!r} in {data_dir or 'the default folder of tensorflow-datasets'}: "
            "build it with python -m data_prep.tcga_multimodal --cohort DIRECTORY --data-dir "
            "DIRECTORY, and name it as tfds:NAME/CONFIG@DATA_DIR or tfds:FOLDER"
        ) from error


def load_tfds_cohort(spec: str) -> Cohort:
    """The cohort that was packed: same tables, same samples, same split.

    Raises:
        InputError: for a dataset that is not there or was not made by `TcgaMultimodal`.
    """
    builder = open_builder(spec)
    about = builder.info.metadata or {}
    lacking = {"modalities", "feature_names", "units", "notes"} - set(about)
    if lacking:
        raise InputError(
            f"{spec} is not a cohort: its metadata lack {', '.join(sorted(lacking))}; build it "
            "with python -m data_prep.tcga_multimodal"
        )
    modalities = tuple(about["modalities"])
    columns: dict[str, list] = {m: [] for m in (*modalities, "present")}
    facts = []
    for split in SPLITS:
        source = builder.as_data_source(split=split)
        for record in source:
            for key, values in columns.items():
                values.append(np.asarray(record[key]))
            facts.append(_facts(record, split))
    samples = pd.DataFrame(facts).set_index("sample_id")
    samples = samples.astype(dict.fromkeys(NUMBER_FACTS, np.float32))
    present = np.stack(columns["present"]).astype(bool)
    tables = {
        m: pd.DataFrame(
            np.stack(columns[m])[present[:, k]],
            index=samples.index[present[:, k]],
            columns=about["feature_names"][m],
        ).sort_index()
        for k, m in enumerate(modalities)
    }
    return Cohort(
        name=about.get("cohort", builder.name),
        modalities=modalities,
        tables=tables,
        samples=samples.sort_index(),
        units=dict(about["units"]),
        notes=(*about["notes"], f"Read from the dataset {builder.info.full_name}."),
        origins=dict.fromkeys(modalities, Origin(file=builder.info.full_name)),
    )


def _facts(record: dict[str, Any], split: str) -> dict[str, Any]:
    """One row of `samples` from a record; unknown text is missing."""
    row: dict[str, Any] = {"sample_id": _text(record["sample_id"]), "split": split}
    row |= {name: _text(record[name]) or None for name in TEXT_FACTS}
    row |= {name: record[name] for name in NUMBER_FACTS}
    return row | json.loads(_text(record["labels"]))


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def grain_batches(
    source: Any, batch_size: int, seed: int, *, num_epochs: int | None = None, drop: bool = True
) -> Any:
    """Shuffled batches of a data source as a `grain.IterDataset`.

    Its iterator resumes exactly: `set_state(get_state())` on a new iterator continues with the very
    next batch, so a checkpoint of the state (a small dict) replays the same data order.

    Args:
        source: from `tfds.data_source`. num_epochs: None for no end; every epoch has its own order.
        drop: leave out the last, smaller batch.
    """
    import grain

    if not 1 <= batch_size <= len(source):
        raise InputError(f"batch_size is {batch_size}, expected 1 to {len(source)} records")
    records = grain.MapDataset.source(source).seed(seed).shuffle().repeat(num_epochs)
    numbers = records.map(_arrays)
    return numbers.batch(batch_size, drop_remainder=drop).to_iter_dataset()


def _arrays(record: dict[str, Any]) -> dict[str, np.ndarray]:
    """The record without text; scalars as float32, so that batches are arrays only."""
    text = ("sample_id", "labels", *TEXT_FACTS)
    return {
        key: np.asarray(value, dtype=np.float32) if key in NUMBER_FACTS else np.asarray(value)
        for key, value in record.items()
        if key not in text
    }
