"""Codecs on disk: their numbers as one tree of arrays, what they are in the JSON beside it.

Those of runs before there were marginals, scales and the rest load as what they are: the published
form.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cohgen_jax.codec.autoencoder import AutoencoderFit, make_module
from cohgen_jax.codec.codec import Codec
from cohgen_jax.codec.completion import Completion
from cohgen_jax.codec.config import PUBLISHED, CodecConfig
from cohgen_jax.codec.marginal import Marginals
from cohgen_jax.codec.pca import Pca
from cohgen_jax.codec.preprocess import Preprocess
from cohgen_jax.codec.rest import Rest
from cohgen_jax.storage.checkpoint import load_tree, save_tree


def save_codecs(codecs: Mapping[str, Codec], directory: str | Path) -> None:
    """Write the codecs of a run, replacing what the directory held."""
    arrays = {name: _arrays(codec) for name, codec in codecs.items()}
    about = {name: _about(codec) for name, codec in codecs.items()}
    save_tree(directory, "codecs", arrays, {"codecs": about})


def load_codecs(directory: str | Path) -> dict[str, Codec]:
    """The codecs that `save_codecs` wrote, checked; InputError if they are not whole."""
    arrays, about = load_tree(directory, "codecs")
    return {name: _codec(saved, arrays[name]) for name, saved in about["codecs"].items()}


def _arrays(codec: Codec) -> dict[str, Any]:
    fitted = codec.preprocess
    tree: dict[str, Any] = {
        "preprocess": {"mean": fitted.mean, "sd": fitted.sd, "median": fitted.median},
        "latent": {
            "mean": codec.latent_mean,
            "sd": codec.latent_sd,
            "scale": codec.scale,
            "kept": codec.kept,
        },
    }
    if fitted.reference is not None:
        tree["preprocess"]["reference"] = fitted.reference
    if fitted.completion is not None:
        tree["completion"] = fitted.completion._asdict()
    if fitted.marginals is not None:
        tree["marginals"] = fitted.marginals._asdict()
    if codec.rest is not None:
        tree["rest"] = codec.rest._asdict()
    if isinstance(codec.reducer, Pca):
        tree["pca"] = codec.reducer._asdict()
    else:
        tree["autoencoder"] = dict(codec.reducer.variables)
    return tree


def _about(codec: Codec) -> dict[str, Any]:
    about: dict[str, Any] = {
        "config": dataclasses.asdict(codec.config),
        "features": list(codec.features),
        "kinds": list(codec.preprocess.kinds),
        "width": codec.width,
    }
    if isinstance(codec.reducer, AutoencoderFit):
        about["losses"] = {"train": codec.reducer.train_loss, "val": codec.reducer.val_loss}
    return about


def _codec(about: dict[str, Any], arrays: dict[str, Any]) -> Codec:
    config = CodecConfig(**{**PUBLISHED, **about["config"]})
    fitted, latent = arrays["preprocess"], arrays["latent"]
    features = tuple(about["features"])
    if "pca" in arrays:
        reducer = Pca(**arrays["pca"])
    else:
        module = make_module(len(features), about["width"], config)
        losses = about["losses"]
        reducer = AutoencoderFit(
            module, arrays["autoencoder"], tuple(losses["train"]), tuple(losses["val"])
        )
    return Codec(
        config=config,
        preprocess=Preprocess(
            features=features,
            mean=fitted["mean"],
            sd=fitted["sd"],
            median=fitted["median"],
            reference=fitted.get("reference"),
            kinds=tuple(about.get("kinds", ["continuous"] * len(features))),
            marginals=Marginals(**arrays["marginals"]) if "marginals" in arrays else None,
            completion=Completion(**arrays["completion"]) if "completion" in arrays else None,
        ),
        reducer=reducer,
        latent_mean=latent["mean"],
        latent_sd=latent["sd"],
        scale=latent["scale"] if "scale" in latent else np.ones_like(latent["sd"]),
        kept=latent["kept"] if "kept" in latent else np.ones_like(latent["sd"]),
        rest=Rest(**arrays["rest"]) if "rest" in arrays else None,
    )
