"""Linear and batch normalisation layers that start and learn as PyTorch's do.

Flax's own layers differ in three ways that change training: Dense draws its weights from another
distribution and starts its bias at zero, BatchNorm keeps the biased batch variance.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

BATCH_STATS = "batch_stats"


class Linear(nn.Module):
    """x [..., I] -> x W + b [..., features]; W and b start uniform in +-1/sqrt(I)."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        bound = max(fan_in, 1) ** -0.5

        def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

        kernel = self.param("kernel", uniform, (fan_in, self.features))
        bias = self.param("bias", uniform, (self.features,))
        y = x @ kernel
        return y + jnp.broadcast_to(bias, y.shape)


class BatchNorm(nn.Module):
    """Normalise each feature of x [N, F] over the batch (train) or by running statistics.

    The batch is normalised by its biased variance (1/N); the running variance follows the unbiased
    one (1/(N-1)):  running <- (1 - momentum) running + momentum batch.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        count, features = x.shape
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        running_mean = self.variable(BATCH_STATS, "mean", jnp.zeros, (features,), jnp.float32)
        running_var = self.variable(BATCH_STATS, "var", jnp.ones, (features,), jnp.float32)

        if train and not self.is_initializing():
            if count < 2:
                raise ValueError("BatchNorm needs at least two samples in a training batch")
            mean, var = x.mean(axis=0), x.var(axis=0)
            unbiased = var * (count / (count - 1))
            running_mean.value += self.momentum * (mean - running_mean.value)
            running_var.value += self.momentum * (unbiased - running_var.value)
        else:
            mean, var = running_mean.value, running_var.value

        gain = scale * jax.lax.rsqrt(var + self.epsilon)
        return (x - mean[None, :]) * gain[None, :] + bias[None, :]
