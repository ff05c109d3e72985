"""Rivals of the library, a file each, behind one protocol (protocol.py).

Each runs in a process of its own (worker.py), those whose packages collide with the library's in an
environment of their own (environments.py). `benchmarks/peers.py` compares them.
"""

from typing import NamedTuple


class Rival(NamedTuple):
    """One method that is compared."""

    title: str
    module: str
    """Of this package; it has a function `fit`, see `protocol.Fit`."""
    environment: str
    """Name in `environments.ENVIRONMENTS`."""
    neural: bool
    about: str
    """What a reader of its scores has to know, in a sentence or two."""


RIVALS: dict[str, Rival] = {
    "kernel_ridge": Rival(
        "Kernel ridge",
        "kernel_ridge",
        "library",
        False,
        "on all components and covariates, a model for each pattern of sources, residuals of "
        "similar training patients as draws",
    ),
    "mofa": Rival(
        "MOFA+ (mofapy2)",
        "mofa",
        "mofapy2",
        False,
        "25 factors, whole tables and the covariates as views; factors of a held-out patient given "
        "what it has, then its table, in closed form",
    ),
    "mvtcae": Rival(
        "MVTCAE (multivae)",
        "mvtcae",
        "torch",
        True,
        "64 leading components of every table, covariates as one more modality, stopped by "
        "validation patients, who also say how wide its draws are",
    ),
    "mopoe": Rival("MoPoE (multivae)", "mopoe", "torch", True, "as MVTCAE"),
    "engression": Rival(
        "Engression",
        "engression",
        "torch",
        True,
        "on all components and covariates, four networks for each target and pattern of sources, "
        "64 leading components of the target",
    ),
    "treeffuser": Rival(
        "Treeffuser",
        "treeffuser",
        "treeffuser",
        False,
        "32 leading components of every table, absent ones left empty, and covariates",
    ),
    "forestdiffusion": Rival(
        "ForestDiffusion",
        "forestdiffusion",
        "forestdiffusion",
        False,
        "16 leading components of every table, absent ones left empty, and covariates; 20 noise "
        "levels, 50 trees and 10 noises a patient in place of 50, 100 and 100, so that it ends",
    ),
    "published_loop": Rival(
        "Published PyTorch loop",
        "published_loop",
        "torch",
        True,
        "32 whitened components, no covariates, 2,000 steps of training a pair of tables at most, "
        "1,000 sampling steps, the mean of the models",
    ),
}
"""In the order of their cost, the cheapest first."""
