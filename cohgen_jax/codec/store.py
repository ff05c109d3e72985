"""Codecs on disk: `codecs.json` says what they are, `arrays/` (Orbax) holds their numbers.

Nothing is pickled. The JSON records shape, type and checksum of every array, so a directory that
was cut short, altered, or written by something else is refused with a sentence, not used.
"""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cohgen_jax.codec.autoencoder import AutoencoderFit
from cohgen_jax.codec.codec import Codec
from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.pca import Pca
from cohgen_jax.codec.preprocess import Preprocess
from cohgen_jax.errors import InputError
from cohgen_jax.networks.autoencoder import Autoencoder

SCHEMA_VERSION = 1


def save_codecs(codecs: Mapping[str, Codec], directory: str | Path) -> None:
    """Write the codecs of a run, replacing what the directory held."""
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "codecs.json"
    file.unlink(missing_ok=True)  # without it a half-written directory is not taken for a whole one
    arrays = {name: _arrays(codec) for name, codec in codecs.items()}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory / "arrays", arrays, force=True)
    about = {
        "schema_version": SCHEMA_VERSION,
        "codecs": {name: _about(codec) for name, codec in codecs.items()},
        "arrays": {name: _fingerprints(tree) for name, tree in arrays.items()},
    }
    file.write_text(json.dumps(about) + "\n")


def load_codecs(directory: str | Path) -> dict[str, Codec]:
    """The codecs that `save_codecs` wrote, checked; InputError if they are not whole."""
    import orbax.checkpoint as ocp

    directory = Path(directory).resolve()
    if not directory.is_dir():
        raise FileNotFoundError(f"no codecs: {directory} is not a directory")
    refused = f"{directory} does not hold whole codecs"
    mend = "train again, or copy the directory again from its source"
    try:
        about = json.loads((directory / "codecs.json").read_text())
        version, descriptions = about["schema_version"], about["codecs"]
        recorded = about["arrays"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{refused}: codecs.json is missing or not ours; {mend}") from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{directory} has codecs of schema version {version!r}, this program reads "
            f"{SCHEMA_VERSION}: train again with this version"
        )
    try:
        wanted = {name: _abstract(tree) for name, tree in recorded.items()}
        with ocp.StandardCheckpointer() as checkpointer:
            arrays = checkpointer.restore(directory / "arrays", wanted)
        arrays = jax.tree.map(np.asarray, arrays)
        intact = {name: _fingerprints(tree) for name, tree in arrays.items()} == recorded
        if intact:
            return {name: _codec(descriptions[name], arrays[name]) for name in descriptions}
    except Exception as error:  # whatever Orbax and TensorStore raise on a damaged directory
        raise InputError(f"{refused}: arrays/ cannot be read; {mend}") from error
    raise InputError(f"{refused}: arrays/ is not what codecs.json recorded; {mend}")


def _arrays(codec: Codec) -> dict[str, Any]:
    fitted = codec.preprocess
    tree: dict[str, Any] = {
        "preprocess": {"mean": fitted.mean, "sd": fitted.sd, "median": fitted.median},
        "latent": {"mean": codec.latent_mean, "sd": codec.latent_sd},
    }
    if fitted.reference is not None:
        tree["preprocess"]["reference"] = fitted.reference
    if isinstance(codec.reducer, Pca):
        tree["pca"] = codec.reducer._asdict()
    else:
        tree["autoencoder"] = dict(codec.reducer.variables)
    return tree


def _about(codec: Codec) -> dict[str, Any]:
    about: dict[str, Any] = {
        "config": dataclasses.asdict(codec.config),
        "features": list(codec.features),
        "width": codec.width,
    }
    if isinstance(codec.reducer, AutoencoderFit):
        about["losses"] = {"train": codec.reducer.train_loss, "val": codec.reducer.val_loss}
    return about


def _codec(about: dict[str, Any], arrays: dict[str, Any]) -> Codec:
    config = CodecConfig(**about["config"])
    scale = arrays["preprocess"]
    features = tuple(about["features"])
    if "pca" in arrays:
        reducer = Pca(**arrays["pca"])
    else:
        module = Autoencoder(
            input_dim=len(features),
            bottleneck=about["width"],
            num_layers=config.num_layers,
            shrink=config.shrink,
        )
        losses = about["losses"]
        reducer = AutoencoderFit(
            module, arrays["autoencoder"], tuple(losses["train"]), tuple(losses["val"])
        )
    return Codec(
        config=config,
        preprocess=Preprocess(
            features, scale["mean"], scale["sd"], scale["median"], scale.get("reference")
        ),
        reducer=reducer,
        latent_mean=arrays["latent"]["mean"],
        latent_sd=arrays["latent"]["sd"],
    )


def _fingerprints(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with every array replaced by its shape, type and checksum."""

    def fingerprint(array) -> dict[str, Any]:
        array = np.ascontiguousarray(array)
        return {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "crc32": zlib.crc32(array.tobytes()),
        }

    return jax.tree.map(fingerprint, dict(tree))


def _abstract(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What Orbax is to restore, from the recorded fingerprints."""

    def is_array(node) -> bool:
        return isinstance(node, dict) and "crc32" in node

    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

    def abstract(node) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(
            tuple(node["shape"]), np.dtype(node["dtype"]), sharding=sharding
        )

    return jax.tree.map(abstract, dict(recorded), is_leaf=is_array)
