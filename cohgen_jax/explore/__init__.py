"""A page to look with: one run, one patient at a time, served on this machine only."""

from cohgen_jax.explore.explorer import Explorer, open_explorer
from cohgen_jax.explore.server import application, listen, serve

__all__ = ["Explorer", "application", "listen", "open_explorer", "serve"]
