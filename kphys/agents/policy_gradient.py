"""Policy gradients: an agent that learns what to do from how whole episodes went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kphys import _arguments
from kphys.agents import _networks
from kphys.agents._agent import Evaluation
from kphys.agents._reinforce import Reinforce
from kphys.models import _parts

__all__ = ["Evaluation", "Reinforce", "reinforce"]

_VECTOR_UNITS = (64, 64)
_VALUE_LEARNING_RATE = 1e-2
# Of Adam, and the activation, by the axes of an observation.
_LEARNING_RATES = {1: 5e-3, 3: 5e-4}
_ACTIVATIONS = {1: "tanh", 3: "relu"}


def reinforce(
    observation_shape: int | Sequence[int],
    num_actions: int,
    *,
    hidden_units: int | Sequence[int] | None = None,
    activation: str | None = None,
    discount: float = 0.99,
    baseline: str | None = "mean",
    reward_to_go: bool | None = None,
    normalize_advantages: bool = False,
    entropy_bonus: float = 0.0,
    episodes_per_update: int = 16,
    value_steps: int | None = None,
    value_learning_rate: float | None = None,
    normalization: keras.layers.Normalization | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
    global_clipnorm: float | None = None,
    seed: int | None = None,
    name: str | None = None,
) -> Reinforce:
    """Builds an agent that learns π(a|s), the probabilities of actions, by REINFORCE.

    A policy gradient: after every `episodes_per_update` episodes θ moves along ⟨Σ_t (G_t − b) d/dθ ln π(a_t|s_t)⟩, the
    mean over them, an estimate of the derivative of the expected return. G_t is the return from step t on and b a
    baseline, which takes from the spread of the estimate and leaves its mean: actions become likelier where the
    episode went better than usual. It learns from whole episodes only: the environment must end them.

    Args:
        observation_shape: Length of a vector, or height, width and channels of an image (uint8, scaled inside). Of
            discrete states their number: they are shown one-hot.
        num_actions: Number of actions.
        hidden_units: Units of the dense layers. `None`: (64, 64) for vectors, 512 after the convolutions for images.
        activation: Activation of the hidden layers. `None`: "tanh" for vectors, "relu" for images.
        discount: γ from 0 to 1, what a reward one step later counts.
        baseline: "mean": of the returns at the same step t of the update's episodes, those that got so far. Of n it
            holds the return itself, which makes the gradient of this step smaller by 1 − 1/n. "value": V(s), which a
            second network learns by (V(s) − G)²; where a time limit cut an episode off, the return goes on by γ V.
            "optimal": that of least variance, b_k = ⟨G_k² R⟩ / ⟨G_k²⟩ for every parameter θ_k, of the whole return R
            and G_k = d/dθ_k Σ_t ln π(a_t|s_t), which, found from the same n episodes, is wrong by a term in 1/n.
            `None`: 0.
        reward_to_go: `True`: G_t = Σ_{k≥t} γ^(k−t) r_k, without the rewards before, for which the action was too
            late. `False`: the return of the whole episode, G_0. `None`: `True`, with the optimal baseline `False`.
        normalize_advantages: `True` makes mean and standard deviation of G − b, over all steps of an update, 0 and 1.
        entropy_bonus: c: c H(π(·|s_t)), in nats, is added to what each step is worth, which keeps chance alive.
        episodes_per_update: Number of episodes from which an update is made.
        value_steps: Gradient steps of the value network each update. `None`: 20.
        value_learning_rate: Its learning rate, by Adam. `None`: 1e-2.
        normalization: An adapted `keras.layers.Normalization` for vectors, put first.
        optimizer: Any Keras optimizer, by name or as an object.
        learning_rate: Learning rate or schedule. `None`: with "adam" 5e-3 for vectors and 5e-4 for images, otherwise
            that of the optimizer.
        global_clipnorm: Largest norm of a gradient. `None`: any.
        seed: Fixes starting weights, episodes and actions. `None`: new ones each time.
        name: Name of the agent.

    Returns:
        A compiled `Reinforce`, `(batch, *observation_shape)` to probabilities, `(batch, num_actions)`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Williams, 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning".
        Greensmith, Bartlett and Baxter, 2004, "Variance reduction techniques for gradient estimates in reinforcement
        learning".

    Example:
        >>> from kphys import reinforce
        >>> agent = reinforce(4, 2, hidden_units=16, seed=0)
        >>> history = agent.fit("CartPole-v1", epochs=2, steps_per_epoch=400, verbose=0)
        >>> agent.act([0.0, 0.0, 0.1, 0.0]) in (0, 1)
        True
    """
    shape = _networks.observation_shape(observation_shape)
    num_actions = _arguments.integer("num_actions", num_actions, minimum=2)
    if hidden_units is None and len(shape) == 1:
        hidden_units = _VECTOR_UNITS
    units = _networks.hidden_units_for(shape, hidden_units)
    activation = _parts.activation_name(_ACTIVATIONS[len(shape)] if activation is None else activation)
    _parts.check_room("`hidden_units` and `num_actions`", units[-1], num_actions)
    seeds = _parts.Seeds(seed)

    def network(outputs: int, last_activation: str | None, name: str) -> keras.Model:
        inputs, features = _networks.observed(shape, normalization, activation, seeds)
        features = _networks.hidden_layers(features, units, activation, seeds)
        # Near 0: a policy that begins by pure chance has everything to learn from.
        start = keras.initializers.RandomNormal(stddev=0.01, seed=seeds())
        head = keras.layers.Dense(outputs, last_activation, kernel_initializer=start, dtype="float32", name="outputs")
        return keras.Model(inputs, head(features), name=name)

    with_values = baseline == "value"
    agent = Reinforce(
        network(num_actions, "softmax", "policy"),
        value_network=network(1, None, "value_network") if with_values else None,
        baseline=baseline,
        discount=discount,
        reward_to_go=reward_to_go,
        normalize_advantages=normalize_advantages,
        entropy_bonus=entropy_bonus,
        episodes_per_update=episodes_per_update,
        value_steps=value_steps,
        seed=seed,
        name=_parts.model_name(name, "reinforce"),
    )
    optimizer = _networks.make_optimizer(optimizer, learning_rate, _LEARNING_RATES[len(shape)], global_clipnorm)
    agent.compile(optimizer, _value_optimizer(value_learning_rate, with_values))
    return agent


def _value_optimizer(learning_rate: Any, with_values: bool) -> keras.optimizers.Optimizer | None:
    if not with_values:
        if learning_rate is not None:
            raise ValueError('`value_learning_rate` must be None without baseline="value": no value is learnt.')
        return None
    if learning_rate is None:
        learning_rate = _VALUE_LEARNING_RATE
    return keras.optimizers.Adam(_arguments.real("value_learning_rate", learning_rate, positive=True))
