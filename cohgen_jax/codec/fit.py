"""Fitting codecs, on train only: preprocessing, reducer, the scale of its components, the rest."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cohgen_jax.codec.autoencoder import choose_place, fit_autoencoder
from cohgen_jax.codec.codec import Codec, Reducer, reduce, restore
from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.identity import identity_codec
from cohgen_jax.codec.matrix import variance_of
from cohgen_jax.codec.pca import Pca, fit_pca, pca_decode, pca_encode
from cohgen_jax.codec.preprocess import fit_preprocess, standardise, standardise_compactly
from cohgen_jax.codec.rest import PATIENTS_PER_COMPONENT, fit_rest, strength_of
from cohgen_jax.cohort.cohort import Cohort
from cohgen_jax.cohort.kinds import Kind
from cohgen_jax.errors import InputError
from cohgen_jax.evenly import evenly

FOLDS = 6
LEAST_FOR_FOLDS = 20
"""Train samples with which the reducer is judged on others than it was fitted on."""
Progress = Callable[[str], None]
MAX_ROWS, MAX_CELLS = 2000, 10**7
"""Train samples that the rest is fitted on, and an autoencoder's scale, evenly spaced; more where
the table then has no more cells than these."""


def fit_codec(
    train: pd.DataFrame,
    val: pd.DataFrame | None,
    config: CodecConfig,
    seed: int,
    progress: Progress | None = None,
    *,
    kind: Kind = "continuous",
    scratch: Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> Codec:
    """Fit on the train samples that have the modality.

    Args:
        train, val: raw values, index sample_id; `val` decides when an autoencoder stops.
        config: what to fit. The width is config.latent_dim, or fewer where the data have fewer
            features, samples or (PCA) dimensions; of a natural codec, at most a third of the
            samples, since the components of fewer are not reproducible.
        seed: of the autoencoder's initialisation and batches, of a large PCA, of the imputer.
        progress: told the losses of an autoencoder as lines of text.
        kind: of the table's values.
        scratch: directory from which an interrupted autoencoder continues, with checkpoints as
            often as `checkpoint_seconds` says; by default there are none. A table that fits no
            memory goes there too, or to the system's place for temporary files.
    """
    if len(train) < 2:
        raise InputError(f"a codec needs two train samples or more; found {len(train)}")
    if config.kind == "identity":
        return identity_codec(train, config)
    fitted = fit_preprocess(
        train,
        max_missing=config.max_missing,
        imputer=config.imputer,
        marginals=config.marginals,
        kind=kind,
        seed=seed,
    )
    width = min(config.latent_dim, len(fitted.features), len(train) - 1)
    if config.natural:
        width = min(width, max(2, len(train) // PATIENTS_PER_COMPONENT))
    with contextlib.ExitStack() as files:
        if config.kind == "pca":
            x = standardise_compactly(fitted, train, allow_absent=0.0)
            reducer = fit_pca(x, width, seed)
        else:
            if val is None or len(val) == 0:
                raise InputError("an autoencoder needs validation samples to know when to stop")
            place = choose_place(len(train), len(fitted.features), width, config)
            file = None
            if place == "disk":
                if scratch is not None:
                    scratch.mkdir(parents=True, exist_ok=True)
                folder = tempfile.TemporaryDirectory(dir=scratch, prefix="table-")
                file = Path(files.enter_context(folder)) / "x.npy"
            x = standardise(fitted, train, allow_absent=0.0, file=file)
            reducer = fit_autoencoder(
                x,
                standardise(fitted, val, allow_absent=0.0),
                width,
                config,
                seed,
                progress,
                place=place,
                checkpoints=None if scratch is None else scratch / "training",
                checkpoint_seconds=checkpoint_seconds,
            )
        latents = reduce(reducer, x).astype(np.float64)
        sd = latents.std(axis=0)
        # A latent that an autoencoder left unused stays 0 instead of becoming amplified rounding.
        sd = np.where(sd > 1e-6 * max(sd.max(), 1e-12), sd, 1.0)
        scale, kept, rest = np.ones(len(sd)), np.ones(len(sd)), None
        if config.natural or config.rest > 0:
            most = max(MAX_ROWS, MAX_CELLS // x.shape[1])
            rows = evenly(len(train), most)
            some = x[rows]
            restored = restore(reducer, latents[rows].astype(np.float32))
            if config.natural:
                scale = _scale(reducer, sd, latents[rows], restored)
            variance = _restored_variance(reducer, sd, restored)
            z = (latents[rows] - latents.mean(axis=0)) / sd
            size = z * scale
            if isinstance(reducer, Pca) and len(rows) >= LEAST_FOR_FOLDS:
                restored, size, kept, variance = _held_out(some, len(sd), seed)
                z, size = z * kept, size * scale
            if config.rest > 0:
                error, strength = some - restored, strength_of(size)
                rest = fit_rest(
                    error, z * scale, strength, variance, variance_of(x), config.rest, seed
                )
    return Codec(
        config=config,
        preprocess=fitted,
        reducer=reducer,
        latent_mean=latents.mean(axis=0).astype(np.float32),
        latent_sd=sd.astype(np.float32),
        scale=scale.astype(np.float32),
        kept=kept.astype(np.float32),
        rest=rest,
    )


def _held_out(
    x: np.ndarray, width: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What components that patients were not fitted on bring back of them, x [n, F]: restored x
    [n, F], latents of train's unit variance [n, L] (each fold's, of any sign), `Codec.kept` [L],
    variance of restored x [F].

    Components of few patients follow these more than the table: of others they bring back less.
    """
    fold = np.arange(len(x)) % FOLDS
    back, ratio = np.empty(x.shape, np.float32), np.ones((FOLDS, width))
    z = np.zeros((len(x), width), np.float32)
    for k in range(FOLDS):
        pca = fit_pca(x[fold != k], width, seed)
        latents = pca_encode(pca, x[fold == k])
        back[fold == k] = pca_decode(pca, latents)
        train = np.maximum(pca_encode(pca, x[fold != k]).std(axis=0), 1e-12)
        ratio[k, : len(train)] = latents.std(axis=0, ddof=1) / train
        z[fold == k, : len(train)] = latents / train
    return back, z, np.minimum(np.sqrt(np.mean(ratio**2, axis=0)), 1.0), variance_of(back)


def _restored_variance(reducer: Reducer, sd: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """[F], of x restored from latents of standard deviations sd [L]."""
    if isinstance(reducer, Pca):
        return np.square(reducer.components, dtype=np.float64) @ np.square(sd)
    return restored.var(axis=0, dtype=np.float64)


def _scale(
    reducer: Reducer, sd: np.ndarray, latents: np.ndarray, restored: np.ndarray
) -> np.ndarray:
    """[L], see `Codec.scale`.

    The components of a PCA are orthonormal; what a standard deviation of an autoencoder's latent
    does to x is read off the least squares of restored x [n, F] on latents [n, L].
    """
    if not isinstance(reducer, Pca):
        z = (latents - latents.mean(axis=0)) / sd
        effect, *_ = np.linalg.lstsq(z, restored - restored.mean(axis=0), rcond=1e-6)
        sd = np.linalg.norm(effect, axis=1)
    return sd / max(np.sqrt(np.mean(sd**2)), 1e-12)


def fit_codecs(
    cohort: Cohort,
    config: CodecConfig | Mapping[str, CodecConfig],
    seed: int,
    progress: Progress | None = None,
    *,
    done: Mapping[str, Codec] | None = None,
    on_fit: Callable[[str, Codec], None] = lambda modality, codec: None,
    scratch: Path | None = None,
    checkpoint_seconds: float = 0.0,
) -> dict[str, Codec]:
    """One codec for each modality of the cohort, from one config or one for each modality.

    Those in `done` are taken as they are; `on_fit` is given each of the others when it is fitted.
    `scratch` holds a directory for each modality, see `fit_codec`.
    """
    codecs = {}
    for modality in cohort.modalities:
        if done is not None and modality in done:
            codecs[modality] = done[modality]
            continue
        settings = config if isinstance(config, CodecConfig) else config[modality]
        train, val = cohort.table(modality, "train"), cohort.table(modality, "val")

        def tell(line: str, modality: str = modality) -> None:
            if progress is not None:
                progress(f"{modality}: {line}")

        try:
            codecs[modality] = fit_codec(
                train,
                val,
                settings,
                seed,
                tell,
                kind=cohort.kinds[modality],
                scratch=None if scratch is None else scratch / modality,
                checkpoint_seconds=checkpoint_seconds,
            )
        except InputError as error:
            raise InputError(f"{modality}: {error}") from error
        on_fit(modality, codecs[modality])
    return codecs
