"""The error that a user's input can cause."""

import importlib.util
from collections.abc import Collection
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the mend."""


def unreadable(path: object, error: Exception) -> InputError:
    """What to raise for a file that a library could not read, whatever it raised."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(
        f"{path} cannot be read ({reason}): truncated, or not the format of its suffix"
    )


_SHOWN = 5
"""How many offending ids or columns a message spells out."""


def shown(items: Collection) -> str:
    """The first few items as text, with a count of the rest."""
    head = ", ".join(str(item) for item in list(items)[:_SHOWN])
    return head if len(items) <= _SHOWN else f"{head} and {len(items) - _SHOWN} more"


def need(what: str, extra: str, *packages: str) -> None:
    """Raise InputError, before any work, if what is wanted needs a package that is not installed.

    extra: the optional dependencies of pyproject.toml that have it.
    """
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise InputError(f"{what} needs {', '.join(lacking)}: pip install 'cohgen-jax[{extra}]'")


def pair(setting: str, refusal: str) -> tuple[str, str]:
    """(NAME, VALUE) of a setting NAME=VALUE; InputError, with these words, if one is blank."""
    name, _, value = setting.partition("=")
    if not (name.strip() and value.strip()):
        raise InputError(refusal)
    return name, value


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that NumPy or JAX does not take."""
    if not 0 <= seed < 2**31:
        raise InputError(f"seed must lie in [0, 2**31), got {seed}")


def check_choices(config: Any) -> None:
    """Raise InputError for an entry of a configuration dataclass that is none of its Literal's."""
    for name, hint in get_type_hints(type(config)).items():
        parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        known = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
        value = getattr(config, name)
        if known and value not in known and not (value is None and NoneType in parts):
            raise InputError(f"unknown {name} {value!r}; known: {', '.join(map(str, known))}")
