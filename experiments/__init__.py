"""Command lines over `cohgen_jax`."""
