"""A shared model on a model hub, through huggingface_hub (the extra `hub`)."""

from __future__ import annotations

from pathlib import Path

from cohgen_jax.errors import InputError, need
from cohgen_jax.runs.shared import CARD, check_shared


def publish_model(
    folder: str | Path,
    repository: str,
    *,
    public: bool = False,
    endpoint: str | None = None,
    message: str = "Model exported by cohgen_jax",
) -> str:
    """Upload a shared model, private unless said otherwise; the address of what was made.

    Args:
      folder: of `cohgen export`; a run directory is refused, since it holds patients.
      repository: OWNER/NAME.
      public: make the repository one that everybody reads.
      endpoint: another hub than the client's own (HF_ENDPOINT).

    Raises:
      InputError: no shared model, an altered one, one without a card, or what the hub refuses.
    """
    need("cohgen publish", "hub", "huggingface_hub")
    folder = Path(folder)
    check_shared(folder)
    if not (folder / CARD).exists():
        raise InputError(f"{folder} has no {CARD}: a model is not published without its card")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise InputError(f"a repository is OWNER/NAME, got {repository!r}")
    from huggingface_hub import HfApi

    hub = HfApi(endpoint=endpoint)
    try:
        made = hub.create_repo(repository, private=not public, exist_ok=True, repo_type="model")
        hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            ignore_patterns=[".git/**", ".cache/**"],
        )
    except Exception as error:  # whatever the client raises of HTTP, log-in and names
        raise InputError(
            f"{repository} could not be published ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); `hf auth login` logs in"
        ) from error
    return str(made)
