"""Settings of every test: no silent broadcasting between ranks, full float32 products."""

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
# Accelerators round the factors of a float32 product by default; golden numbers are not rounded.
jax.config.update("jax_default_matmul_precision", "highest")
