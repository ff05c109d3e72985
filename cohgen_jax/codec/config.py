"""What codec to fit, and the published choices for each modality."""

import dataclasses
from typing import Literal

from cohgen_jax.errors import InputError, check_choices

Place = Literal["device", "host", "disk"]

PUBLISHED = {
    "marginals": "none",
    "natural": False,
    "rest": 0,
    "max_missing": 0.10,
    "imputer": "median",
}
"""What the publication's codecs, and those of runs before these fields, have instead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """One modality's codec. The fields from num_layers on concern the autoencoder only."""

    kind: Literal["pca", "autoencoder", "identity"] = "pca"
    """identity: the tables are standardised latents and stay so, whatever the rest says."""
    latent_dim: int = 256
    """Latents; a natural codec of few patients has fewer (see `fit_codec`)."""
    marginals: Literal["normal_scores", "none"] = "normal_scores"
    """Each feature goes through its own monotone transform to normal scores and comes back through
    the inverse; none: it is shifted and scaled (the published form)."""
    natural: bool = True
    """Conditions see each component in its natural scale, worth what it is in the table; False:
    whitened, all alike (the published form)."""
    rest: int = 256
    """Components of what the latents do not bring back that draws get, beside noise by feature;
    0: draws are what is decoded and no more (the published form)."""
    max_missing: float | None = None
    """Features missing in this share of the train samples, or more, are dropped; by default by
    kind (`cohort.kinds.MAX_MISSING`)."""
    imputer: Literal["pca", "median", "knn"] = "pca"
    """Missing cells become what the other cells let expect, by principal components; or the median
    or the mean of the nearest patients (the published forms)."""
    num_layers: int = 2
    """Hidden layers of the encoder, and of the decoder."""
    shrink: float = 1.0
    """Exponent of the hidden widths: 1 is geometric, larger narrows earlier."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    batch_size: int = 64
    max_epochs: int = 10_000
    patience: int = 10
    """Epochs without a better validation loss before stopping."""
    place: Literal["auto", "device", "host", "disk"] = "auto"
    """Where the training table lies: in the device's memory, or in the host's or a memory-mapped
    file, from where its batches stream. Decides no result; auto goes by the memory there is."""

    def __post_init__(self):
        check_choices(self)
        if not isinstance(self.natural, bool):
            raise InputError(f"natural {self.natural!r} is unknown; known: True, False")
        if self.rest < 0:
            raise InputError(f"rest must be at least 0, not {self.rest}")
        if self.max_missing is not None and not 0 < self.max_missing <= 1:
            raise InputError(f"max_missing is a share in (0, 1], not {self.max_missing}")
        for name in ("latent_dim", "num_layers", "batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not (self.shrink > 0 and self.learning_rate > 0 and self.weight_decay >= 0):
            raise InputError("shrink and learning_rate must be positive, weight_decay at least 0")


def published_config(modality: str, latent_dim: int = 32) -> CodecConfig:
    """What the publication used for this modality; PCA for one that it had not, and for wsi."""
    choices = {
        "cna": {"kind": "autoencoder", "num_layers": 2, "shrink": 3.0},
        "rnaseq": {"kind": "autoencoder", "num_layers": 3, "imputer": "knn"},
        "rppa": {"kind": "autoencoder", "num_layers": 2, "imputer": "knn"},
    }
    choices["rna"] = choices["rnaseq"]
    return CodecConfig(**{**PUBLISHED, "latent_dim": latent_dim, **choices.get(modality, {})})
