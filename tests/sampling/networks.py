"""Networks of a few numbers, for banks whose draws are known."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from cohgen_jax.sampling import Bank


class Constant(nn.Module):
    """Predicts the same whatever it is shown."""

    x_dim: int
    cond_dims: tuple[int, ...]

    @nn.compact
    def __call__(self, x_t, t, conds, mask=None, *, train=False):
        value = self.param("value", nn.initializers.zeros, (self.x_dim,), jnp.float32)
        return jnp.broadcast_to(value[None], x_t.shape)


def constant_bank(num_models, dim, **kwargs) -> Bank:
    """Of as many sources, each of whose models says a vector of its own."""
    values = np.linspace(-1.0, 1.0, num_models * dim).reshape(num_models, dim)
    models = [
        (Constant(dim, (dim,)), {"params": {"value": jnp.asarray(own, jnp.float32)}})
        for own in values
    ]
    return Bank.from_models("x", [f"y{k}" for k in range(num_models)], models, **kwargs)
