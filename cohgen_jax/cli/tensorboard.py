"""Training as TensorBoard event files; needs the extra `tensorboard` (tensorboardX)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from cohgen_jax.errors import InputError
from cohgen_jax.training import Progress


class TensorBoard:
    """A report of `train_run` that writes event files: one curve for each model and score.

    Raises:
      InputError: tensorboardX is not installed.
    """

    def __init__(self, directory: Path) -> None:
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError(
                "--tensorboard needs tensorboardX: pip install 'cohgen-jax[tensorboard]'"
            )
        self.directory = directory
        self.writers: dict[str, Any] = {}

    def __call__(self, family: str, progress: Progress) -> None:
        from tensorboardX import SummaryWriter

        if not progress.rows:
            return  # nothing is made before there is something to show
        if family not in self.writers:
            self.writers[family] = SummaryWriter(str(self.directory / family))
        writer = self.writers[family]
        for row in progress.rows:
            for name in ("train_loss", *(name for name in row if name.startswith("val_"))):
                writer.add_scalar(f"{name}/{row['model']}", row[name], progress.epoch)
        writer.add_scalar("farm/models_running", progress.active, progress.epoch)
        writer.add_scalar("farm/samples_per_second", progress.rate, progress.epoch)
        writer.flush()
        if progress.epoch == progress.num_epochs or progress.active == 0:
            writer.close()  # its thread writes the rest
