"""The error that a user's input can cause."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the mend."""


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that NumPy or JAX does not take."""
    if not 0 <= seed < 2**31:
        raise InputError(f"seed must lie in [0, 2**31), got {seed}")
