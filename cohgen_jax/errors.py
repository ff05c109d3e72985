"""The error that a user's input can cause."""

import importlib.util


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the mend."""


def need(what: str, extra: str, *packages: str) -> None:
    """Raise InputError, before any work, if what is wanted needs a package that is not installed.

    extra: the optional dependencies of pyproject.toml that have it.
    """
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise InputError(f"{what} needs {', '.join(lacking)}: pip install 'cohgen-jax[{extra}]'")


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that NumPy or JAX does not take."""
    if not 0 <= seed < 2**31:
        raise InputError(f"seed must lie in [0, 2**31), got {seed}")
