"""JAX: the whole step under one jit, its parameters donated, each call waited for."""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed.peers import ADAM_RATE, RATE, STEPS, Makers, Problem, Step
from handgrad.manual.schedules import OneCycle

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def loss(params, x, target):
    """Softmax cross-entropy of the network."""
    for W, b in params[:-1]:
        x = jax.nn.relu(x @ W.T + b)
    W, b = params[-1]
    log_p = jax.nn.log_softmax(x @ W.T + b)
    return -log_p[jnp.arange(len(target)), target].mean()


@partial(jax.jit, donate_argnums=0)
def sgd(params, x, target):
    """One step of SGD."""
    J, grads = jax.value_and_grad(loss)(params, x, target)
    return jax.tree.map(lambda w, g: w - RATE * g, params, grads), J


@partial(jax.jit, donate_argnums=(0, 1))
def adam(params, state, x, target, rate):
    """One step of Adam."""
    t, m, v = state
    J, grads = jax.value_and_grad(loss)(params, x, target)
    t = t + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, grads)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, grads)
    c1, c2 = 1 - BETA1**t, 1 - BETA2**t

    def descend(w, m, v):
        return w - (rate * (m / c1) / (jnp.sqrt(v / c2) + EPS)).astype(w.dtype)

    return jax.tree.map(descend, params, m, v), (t, m, v), J


def jit(p: Problem) -> Step:
    """The jitted step."""
    params = [(jnp.array(W), jnp.array(b)) for W, b in p.params]
    x, target = jnp.array(p.x), jnp.array(p.target)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state, k = (jnp.asarray(0), zeros, jax.tree.map(jnp.zeros_like, params)), 0
    schedule = OneCycle(ADAM_RATE, STEPS)

    def run() -> None:
        nonlocal params, state, k
        if p.rule == "sgd":
            params, J = sgd(params, x, target)
        else:
            params, state, J = adam(params, state, x, target, float(schedule(k)))
            k += 1
        jax.block_until_ready((params, J))

    return Step(run, lambda: np.asarray(params[0][0]))


makers: Makers = {"JAX jit": jit}
