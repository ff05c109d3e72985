"""What compilation costs: the programs that a user of the default recipe waits for.

    python -m benchmarks.compilation

Of each way to compile, in a process of its own: seconds that XLA takes and milliseconds that the
program then takes, for the sampler of 300 patients x 10 draws by three single-condition models, for
that of all patterns of three sources by three multi-condition models, for an epoch of the twelve
single-condition models of four modalities, and for their validation. Random weights and latents, of
the sizes of tcga. As shipped, and with what the package switches off: LLVM's third level of
optimisation, and on a GPU Triton's products.
Results go to compilation.json, or what --out says, and into the README.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_suffix(".json")
ROOT = RESULT.parents[1]
FLAGS = {"as shipped": "", "with LLVM's third level": "--xla_backend_optimization_level=3"}
FLAGS_OF_GPU = {"with Triton's products": "--xla_gpu_enable_triton_gemm=true"}
HELD_OUT, REPEATS = 300, 5


def measured() -> list[dict[str, Any]]:
    """In a process that compiles as XLA_FLAGS say: a row a program."""
    import jax
    import numpy as np

    from benchmarks import sampling as s
    from cohgen_jax.training import DiffusionConfig, make_farm, pair_specs
    from cohgen_jax.training.config import MeshConfig
    from cohgen_jax.training.farm import fresh_state, share_out, train_epoch, validate
    from cohgen_jax.training.mesh import make_mesh

    jax.config.update("jax_enable_compilation_cache", False)
    compiling: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: (
            compiling.append(seconds) if event.endswith("backend_compile_duration") else None
        )
    )
    table = []

    def measure(program: str, task) -> None:
        compiling.clear()
        s.timed(task)
        row = {"program": program, "compile_s": sum(compiling), "programs": len(compiling)}
        again = [s.timed(task) for _ in range(REPEATS)]
        table.append(row | {"ms": 1e3 * statistics.median(again)})

    single = s.bank_of(s.DEFAULT, s.singles(3))
    measure("single-condition sampler", lambda: s.draw(single, 300, s.CHOSEN["v"], 10))
    multi = s.bank_of(s.RECIPE.multi.network, s.multis(3, s.RECIPE.multi.members))
    num = 700 if s.GPU else 70
    present = s.every_pattern(num)
    measure(
        "multi-condition sampler", lambda: s.draw(multi, num, s.CHOSEN["v"], 10, present=present)
    )
    total, width = s.TRAINED + HELD_OUT, s.RECIPE.codec.latent_dim
    z = s.latents(total, len(s.NAMES), width)
    farm, data = make_farm(
        pair_specs(s.NAMES),
        z,
        np.ones(z.shape[:2], bool),
        [width] * len(s.NAMES),
        np.arange(s.TRAINED),
        np.arange(s.TRAINED, total),
        s.RECIPE.single,
        DiffusionConfig(),
        0,
    )
    mesh = make_mesh(MeshConfig(), len(farm.specs), s.RECIPE.single.places)
    like, data = share_out(data, farm=farm, mesh=mesh)
    state = fresh_state(data, like, farm=farm)

    def advance(step):
        nonlocal state
        state, said = step(state, data, farm=farm)
        return said

    measure("epoch of 12 models", lambda: advance(train_epoch))
    measure("validation of 12 models", lambda: advance(validate))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured()))
        return
    import jax

    from benchmarks.readme import refresh
    from benchmarks.record import record

    ways = FLAGS | (FLAGS_OF_GPU if jax.default_backend() == "gpu" else {})

    def every() -> list[dict]:
        rows = []
        for way, flags in ways.items():
            command = [sys.executable, "-m", "benchmarks.compilation", "--one"]
            given = {**os.environ, "XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            said = subprocess.check_output(command, cwd=ROOT, env=given, text=True)
            rows += [{"compiled": way, **row} for row in json.loads(said.splitlines()[-1])]
            print(*rows[-4:], sep="\n", flush=True)
        return rows

    record("compilation", every, arguments.out)
    refresh("compilation")


if __name__ == "__main__":
    main()
