"""Upload an exported model to a model hub; private unless --public. Needs the extra `hub`.

    python experiments/publish.py --model models/mine --repository me/mine

`hf auth login` logs in. A run directory is refused, since it holds patients.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from cohgen_jax.sharing.publish import publish_model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Upload an exported model to a model hub."""

    model: Path
    """A folder that export.py made."""
    repository: str
    """OWNER/NAME on the hub."""
    public: bool = False
    """Everybody may read it; otherwise whom the owner lets."""
    endpoint: str | None = None
    """Another hub than huggingface.co, by its address."""


def main() -> None:
    arguments = tyro.cli(Arguments, description=__doc__)
    address = publish_model(
        arguments.model,
        arguments.repository,
        public=arguments.public,
        endpoint=arguments.endpoint,
    )
    print(f"published: {address}")
