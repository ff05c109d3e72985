"""Libraries that need not be there, of the optional extra `benchmarks`."""

import importlib
import warnings


def why_missing(module: str) -> str | None:
    """Why a baseline that needs a module cannot be had here, in words; None where it can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except ImportError as error:
        return f"it needs the optional extra `benchmarks` ({error})"
    except Exception as error:  # such as a torchvision that was built for another torch
        return f"{module.split('.')[0]} is installed but cannot be imported ({error})"
    return None
