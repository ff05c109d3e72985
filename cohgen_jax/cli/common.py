"""What every command does: one line for a user's mistake, a compilation cache, progress bars."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar, get_args

import tyro
from tqdm import tqdm

from cohgen_jax.errors import InputError
from cohgen_jax.runs.config import ExperimentConfig, RecipeName, recipe
from cohgen_jax.storage import distributed
from cohgen_jax.storage.interrupt import Interrupted, raising
from cohgen_jax.storage.rundir import DATA, from_dict
from cohgen_jax.training import Progress

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """Which of several processes this is."""

    distributed: bool = False
    """One of several processes that share the work, started by srun or mpirun or on a TPU pod."""
    coordinator: str | None = None
    """host:port of process 0, with the next two where JAX does not find out by itself."""
    num_processes: int | None = None
    process_id: int | None = None

    def start(self) -> distributed.Share:
        """Join the others, if there are any, before anything else is asked of JAX."""
        if not self.distributed:
            return distributed.Share()
        return distributed.start(self.coordinator, self.num_processes, self.process_id)


def run_command(main: Callable[[], None]) -> None:
    """Run a command; what the user can mend is told in one line, with exit status 2.

    That includes what the system refuses: files that are not there, no permission, a full disk.
    SIGTERM and Ctrl-C end a command in order, with the exit status that shells give them.
    """
    _use_compilation_cache()
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what Orbax logs, it also raises
    try:
        with raising():
            main()
    except (InputError, OSError) as error:
        _stop(str(error))
    except Interrupted as stopped:
        _stop(f"{stopped}; --resume continues a training run", stopped.status)


def say(line: str) -> None:
    """Print without breaking a progress bar."""
    tqdm.write(line, file=sys.stderr)


def parse(arguments: type[T], args: list[str], doc: str | None) -> T:
    """The recipe is looked at first: it sets the defaults that --help shows and options change.

    So does a configuration in JSON, named by --config where the command has that option.
    """
    start = value_of("--config", args)
    if start is not None:
        if value_of("--recipe", args) is not None:
            raise InputError("--config is a whole configuration: leave out --recipe")
        defaults = _config_from(Path(start))
    else:
        chosen = value_of("--recipe", args) or "default"
        known = chosen in get_args(RecipeName)  # otherwise tyro names the choices
        defaults = recipe(chosen if known else "default")  # pyright: ignore[reportArgumentType]
    spec = dataclasses.make_dataclass(
        "Arguments",
        [("config", Annotated[ExperimentConfig, tyro.conf.arg(name="")], defaults)],
        bases=(arguments,),
        frozen=True,
        kw_only=True,
    )
    return tyro.cli(spec, args=args, description=doc)


def value_of(option: str, args: list[str]) -> str | None:
    """What a command line says behind an option, None where it lacks the option."""
    for i, arg in enumerate(args):
        if arg.startswith(f"{option}="):
            return arg.removeprefix(f"{option}=")
        if arg == option and i + 1 < len(args):
            return args[i + 1]
    return None


def _config_from(file: Path) -> ExperimentConfig:
    try:
        values = json.loads(file.read_text())
        values.pop(DATA, None)
        return from_dict(ExperimentConfig, values)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not a configuration of this version: {error}") from error


class TrainingBars:
    """One bar for each farm: epochs, time left, models running and finished, examples a second."""

    def __init__(self) -> None:
        self.bars: dict[str, tqdm] = {}

    def __call__(self, family: str, progress: Progress) -> None:
        if not progress.rows:
            for bar in self.bars.values():
                bar.close()
            self.bars[family] = tqdm(
                total=progress.num_epochs,
                initial=progress.epoch,
                desc=f"{progress.models} models ({family})",
                unit="epoch",
            )
            return
        bar = self.bars[family]
        energy = sum(row["val_energy"] for row in progress.rows) / len(progress.rows)
        finished = progress.models - progress.active
        bar.set_postfix(
            energy=f"{energy:.3f}",
            running=progress.active,
            finished=finished,
            samples=f"{progress.rate:,.0f}/s",
            refresh=False,
        )
        bar.update(progress.epoch - bar.n)
        if progress.epoch == progress.num_epochs or progress.active == 0:
            bar.close()


class CountBar:
    """Things done of those to do, and which is next; nothing is shown before the first call."""

    def __init__(self, desc: str, unit: str) -> None:
        self.desc, self.unit = desc, unit
        self.bar: tqdm | None = None

    def __enter__(self) -> CountBar:
        return self

    def __call__(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            self.bar = tqdm(desc=self.desc, unit=self.unit, total=total, smoothing=0.1)
        self.bar.set_postfix_str(what, refresh=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *exception) -> None:
        if self.bar is not None:
            self.bar.close()


def _use_compilation_cache() -> None:
    """Compiled programs are kept between commands, unless JAX_COMPILATION_CACHE_DIR says where."""
    import jax

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(home / "cohgen_jax" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _stop(message: str, status: int = 2) -> None:
    say(f"error: {message}")
    raise SystemExit(status)
