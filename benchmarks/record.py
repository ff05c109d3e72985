"""A benchmark's JSON: each part with where and when it was measured, kept as soon as there."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


def record(name: str, measure: Callable[[], Any], out: Path | None, **about: Any) -> None:
    """Run `measure` and keep what it returns as part `name` of `out`, beside the parts kept there.

    Args:
      out: JSON file, or None to keep nothing.
      about: what else a reader has to know: versions of other libraries, sizes.
    """
    load, began = os.getloadavg()[0], time.perf_counter()
    print(f"-- {name}", flush=True)
    results = measure()
    where = {
        "device": jax.devices()[0].device_kind,
        "cpu_count": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        **about,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_average_before": load,
    }
    print(f"-- {name}: {time.perf_counter() - began:.0f} s", flush=True)
    if out:
        kept = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(kept | {name: {"about": where, "results": results}}, indent=1))
