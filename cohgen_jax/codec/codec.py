"""A codec: one modality's raw table <-> standardised latents.

raw table -> filter, scale, impute: x -> PCA or autoencoder -> each latent to mean 0, variance 1 on
train: z, and back, all fitted on train only. There are two ways back: `decode` is what the latents
alone say, `draw` is whole, with the rest of the variance drawn from its model. Axes: N samples,
F features kept, L latent width, R draws of a sample.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from cohgen_jax.codec.autoencoder import (
    AutoencoderFit,
    autoencoder_decode,
    autoencoder_encode,
    autoencoder_restorer,
)
from cohgen_jax.codec.conditioning import condition
from cohgen_jax.codec.config import CodecConfig
from cohgen_jax.codec.marginal import columns_of, from_mean_scores
from cohgen_jax.codec.matrix import Matrix, blocks
from cohgen_jax.codec.pca import Pca, pca_decode, pca_encode
from cohgen_jax.codec.preprocess import (
    Preprocess,
    standardise,
    standardise_compactly,
    unstandardise,
)
from cohgen_jax.codec.rest import Rest, add_rest
from cohgen_jax.cohort.kinds import Kind
from cohgen_jax.errors import InputError

Reducer = Pca | AutoencoderFit


@dataclasses.dataclass(frozen=True)
class Codec:
    """A fitted codec; made by `fit_codec`, kept by `save_codecs`."""

    config: CodecConfig
    preprocess: Preprocess
    reducer: Reducer
    latent_mean: np.ndarray
    """float32 [L], over train, before standardisation."""
    latent_sd: np.ndarray
    """float32 [L]."""
    scale: np.ndarray
    """float32 [L], mean square 1: the standard deviation of each component in x over its root mean
    square over the components; all 1 unless config.natural. Conditions see z * scale, the natural
    scale, in which nothing is whitened away. Generated is z, of unit variance, with each
    component's loss weighted by scale**2, what it is worth in the table."""
    kept: np.ndarray
    """float32 [L], standard deviation of each component in patients that the reducer was not fitted
    on, over that of train: below 1 where it follows its training patients more than the table."""
    rest: Rest | None
    """What draws get beside the latents; None where config.rest is 0."""

    @property
    def features(self) -> tuple[str, ...]:
        """The features that `decode` returns; those dropped in fitting are not among them."""
        return self.preprocess.features

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of the values of each feature."""
        return self.preprocess.kinds

    @property
    def width(self) -> int:
        return len(self.latent_sd)

    def standardised(self, table: pd.DataFrame, *, allow_absent: float = 0.0) -> np.ndarray:
        """float32 [N, F]: x of any patients, columns matched by name, missing cells imputed.

        x is a normal score or, where config.marginals is "none", in standard deviations of train.
        `allow_absent` is the share of the fitted features that the table may lack; the default
        refuses a table that lacks any.
        """
        return standardise(self.preprocess, table, allow_absent=allow_absent)

    def encode(self, table: pd.DataFrame, *, allow_absent: float = 0.0) -> np.ndarray:
        """float32 [N, L]: latents of any patients; the table as in `standardised`."""
        return self._latents_of(
            standardise_compactly(self.preprocess, table, allow_absent=allow_absent)
        )

    def project(self, x: np.ndarray) -> np.ndarray:
        """float32 [..., L]: latents of x [..., F]."""
        return self._latents_of(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.width)

    def _latents_of(self, x: Matrix) -> np.ndarray:
        rows = reduce(self.reducer, x)
        return ((rows - self.latent_mean) / self.latent_sd).astype(np.float32)

    def units(self, x: np.ndarray) -> np.ndarray:
        """float32 [..., F]: x [..., F] in the units of the table."""
        return unstandardise(self.preprocess, x)

    def residual(self, table: pd.DataFrame) -> np.ndarray:
        """float32 [N]: root mean square, over features in units of x, of what encoding and
        decoding does not bring back: what is foreign to the codec, latents do not show."""
        parts = []
        for x in blocks(standardise_compactly(self.preprocess, table, allow_absent=0.0)):
            back = restore(self.reducer, reduce(self.reducer, x))
            parts.append(np.sqrt(np.mean(np.square(x - back), axis=1)).astype(np.float32))
        return np.concatenate(parts)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """float32 [..., F]: what latents [..., L] alone say, in the units of the table, columns as
        `features`."""
        return self.units(self.restored(z))

    def draw_standardised(
        self,
        z: np.ndarray,
        streams: np.ndarray,
        seed: int,
        *,
        first_draw: int = 0,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """float32 [R, N, F]: x of whole draws, the restored latents with a draw of the rest.

        Every feature has variance 1 where latents are N(0, I). The score of a value that many
        patients share is anywhere in the value's interval; `units` rounds it to the value. The
        noise is a function of the seed, the patient's stream and the number of the draw alone, so
        draws are the same in any company. Without a rest they are what `decode` says.

        Args:
            z: [R, N, L], latents of R draws of N patients.
            streams: uint32 [N], one number for each patient.
            first_draw: number of the first of the R.
            temperature: factor of the drawn rest; 0 leaves it out.
        """
        latents = self._latents(z)
        if latents.ndim != 3 or latents.shape[1:2] != np.shape(streams):
            raise InputError(
                f"latents [R, N, L] and a stream for each of N patients are needed, not shapes "
                f"{latents.shape} and {np.shape(streams)}"
            )
        if self.rest is None:
            return restore(self.reducer, latents)
        return add_rest(
            self.rest,
            _restorer(self.reducer),
            latents,
            np.asarray(z, np.float32) * self.scale,
            streams,
            seed,
            first_draw=first_draw,
            temperature=temperature,
        )

    def draw(
        self,
        z: np.ndarray,
        streams: np.ndarray,
        seed: int,
        *,
        first_draw: int = 0,
        temperature: float = 1.0,
    ) -> np.ndarray:
        """float32 [R, N, F]: `draw_standardised` in the units of the table."""
        x = self.draw_standardised(z, streams, seed, first_draw=first_draw, temperature=temperature)
        return self.units(x)

    def restored(self, z: np.ndarray) -> np.ndarray:
        """float32 [..., F]: x that latents [..., L] alone say."""
        return restore(self.reducer, self._latents(z))

    def conditioned(self, x: np.ndarray, table: pd.DataFrame, variance: np.ndarray) -> np.ndarray:
        """float32 [R, N, F]: draws of x given what the table knows of the same patients as well.

        Known cells are theirs in every draw, the others are drawn from the rest of the model
        (conditioning.py); without one, as in the published form, they are as in training.

        Args:
            x: [R, N, F], drawn from other modalities.
            table: raw values of the N patients, NaN where unknown.
            variance: [N, L], of the latents given those modalities.
        """
        if self.rest is None or not isinstance(self.reducer, Pca):
            return np.broadcast_to(self.standardised(table), x.shape)
        measured = standardise(self.preprocess, table, allow_absent=0.0, impute=False)
        components = self.rest.gain[:, None] * self.reducer.components
        loadings = np.concatenate([components, self.rest.loadings], axis=1)
        sd = np.ones((len(measured), loadings.shape[1]), np.float32)
        sd[:, : self.width] = np.sqrt(variance) * self.latent_sd
        return condition(x, measured, loadings, sd, self.rest.noise)

    def expected(
        self,
        draws: np.ndarray,
        mean: np.ndarray | None = None,
        columns: np.ndarray | slice = slice(None),
    ) -> np.ndarray:
        """float32 [N, F]: expectation of every value, in the units of the table.

        Of a feature of many values it is the mean of its draws. Of one of few (a mutation, a
        grade) it follows from the expectation of x, as exact as that is: of a binary feature it is
        the probability.

        Args:
            draws: [R, N, F], in units.
            mean: [N, F], expectation of x (`restored` of that of the latents), if it is known.
            columns: which features these are; all by default.
        """
        values = draws.mean(axis=0)
        if mean is not None and self.preprocess.marginals is not None:
            marginals = columns_of(self.preprocess.marginals, columns)
            few = np.flatnonzero(marginals.levels)
            if len(few):
                values[:, few] = from_mean_scores(columns_of(marginals, few), mean[:, few])
        return values

    def _latents(self, z: np.ndarray) -> np.ndarray:
        """float32 [..., L], as the reducer has them."""
        z = np.asarray(z, dtype=np.float32)
        if z.shape[-1] != self.width:
            raise InputError(f"latents of width {z.shape[-1]} given, the codec has {self.width}")
        return z * self.latent_sd + self.latent_mean


def reduce(reducer: Reducer, x: Matrix) -> np.ndarray:
    """x [N, F] -> latents [N, L], before standardisation."""
    return pca_encode(reducer, x) if isinstance(reducer, Pca) else autoencoder_encode(reducer, x)


def restore(reducer: Reducer, latents: np.ndarray) -> np.ndarray:
    """Latents [..., L], before standardisation -> x [..., F]."""
    if isinstance(reducer, Pca):
        return pca_decode(reducer, latents)
    return autoencoder_decode(reducer, latents)


def _restorer(reducer: Reducer) -> Callable[[jax.Array], jax.Array]:
    """`restore` of [B, L] on the device."""
    if not isinstance(reducer, Pca):
        return autoencoder_restorer(reducer)
    centre, components = jax.device_put((reducer.centre, reducer.components))
    return lambda latents: _pca_restore(latents, centre, components)


@jax.jit
def _pca_restore(latents: jax.Array, centre: jax.Array, components: jax.Array) -> jax.Array:
    return jnp.dot(latents, components.T, precision=jax.lax.Precision.HIGHEST) + centre[None, :]
