"""Deep Q-learning: an agent that learns from its memory what every action is worth."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kphys import _arguments
from kphys.agents import _networks
from kphys.agents._agent import Evaluation
from kphys.agents._dqn import DQN
from kphys.agents._dueling import Dueling
from kphys.models import _parts
from kphys.models._execution import execution

__all__ = ["DQN", "Dueling", "Evaluation", "dqn"]


def dqn(
    observation_shape: int | Sequence[int],
    num_actions: int,
    *,
    hidden_units: int | Sequence[int] | None = None,
    activation: str = "relu",
    dueling: bool = False,
    double: bool = True,
    n_step: int = 3,
    discount: float = 0.99,
    replay_capacity: int = 100_000,
    prioritized: bool = False,
    priority_exponent: float | None = None,
    importance_exponent: float | None = None,
    batch_size: int = 128,
    learning_starts: int = 1_000,
    train_period: int = 64,
    gradient_steps: int = 64,
    target_update_period: int = 256,
    tau: float = 1.0,
    delta: float = 10.0,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.04,
    exploration_steps: int = 8_000,
    frame_stack: int = 1,
    save_replay: bool = True,
    normalization: keras.layers.Normalization | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None,
    global_clipnorm: float | None = 10.0,
    seed: int | None = None,
    name: str | None = None,
) -> DQN:
    """Gives an agent that learns Q(s, a), the discounted return of taking a in s and the best actions after it.

    It plays ε-greedily, remembers what it saw, and moves Q(s, a) towards R + Γ Q⁻(s', a*), where R is the sum of the
    next n discounted rewards and Γ = γⁿ, or 0 where the episode terminated. Where a time limit cut the episode off, Γ
    is as ever: the task would have gone on. a* is the best action in s', by Q with `double`, else by the target network
    Q⁻. The loss is Huber's. All gradient steps of a round are one compiled call.

    The defaults are for tasks of some 10⁴ to 10⁵ steps on vectors: on CartPole-v1, in 50,000 steps, ten of ten
    seeds reach 475. For Atari, Mnih et al. 2015 take `double=False`, `n_step=1`, `batch_size=32`,
    `train_period=4`, `gradient_steps=1`, `learning_starts=50_000`, `replay_capacity=1_000_000`,
    `target_update_period=10_000`, `exploration_steps=1_000_000`, `epsilon_end=0.1` and `frame_stack=4`, with a learning
    rate of 1e-4.

    Args:
        observation_shape: Number of features of an observation, or of discrete states, which are taken one-hot; or
            `(height, width, channels)` for images of uint8, scaled to [0, 1] inside.
        num_actions: Number of actions, at least 2.
        hidden_units: Units of the dense layers. `None`: (128, 128) for vectors, (512,) for images, which go through
            three convolutions before (Mnih et al. 2015), or below 36 pixels two of 3×3 that keep every pixel.
        activation: Activation of the hidden layers, by name or as the function.
        dueling: Gives V(s) and the advantages last layers of their own; see `Dueling`.
        double: Lets Q choose a*, and the target network only judge it: less overestimation.
        n_step: n, rewards that are summed up before the target network takes over.
        discount: γ, from 0 to 1.
        replay_capacity: Observations that are remembered; see `kphys.agents.replay.ReplayBuffer`.
        prioritized: Draws transitions of large error oftener; within a round by their errors before it.
        priority_exponent: α ≥ 0 of the priorities: 0 is uniform. `None`: 0.6 with `prioritized`, which it needs.
        importance_exponent: β from 0 to 1 of the weights that correct for it: 1 corrects fully. `None`: likewise 0.4.
        batch_size: Transitions of a gradient step.
        learning_starts: Steps before the first gradient step.
        train_period: Steps from one round of training to the next.
        gradient_steps: Gradient steps of a round.
        target_update_period: Steps from one update of the target network to the next.
        tau: τ from 0 to 1; an update is θ⁻ ← τ θ + (1 − τ) θ⁻. 1 copies.
        delta: δ of Huber's loss, a temporal difference error beyond which the gradient grows no more; the literature's
            is 1. The step into a failure has the largest errors of all, and with 1 counts too little to be unlearnt.
        epsilon_start, epsilon_end, exploration_steps: ε falls linearly from the first to the second over that many
            steps, and stays there.
        frame_stack: Frames of which an observation is made, along the last axis; the environment shows one at a time.
            1: observations are taken as they are.
        save_replay: Whether files hold the buffer. Without it a resumed training begins with an empty one.
        normalization: An adapted `keras.layers.Normalization` to go first, for vectors.
        optimizer: A Keras optimizer, or its name.
        learning_rate: Its learning rate or a schedule of gradient steps. `None`: with "adam" one that falls from 1e-3
            to 1e-4 in 40,000 of them, as many as steps in the environment, and stays there: without it values never
            settle. With another optimizer its own.
        global_clipnorm: Norm to which the gradient of all weights together is clipped. `None`: it is not.
        seed: Fixes starting weights, episodes, exploration and what is drawn from memory. `None`: new ones each time.
        name: Name of the model.

    Returns:
        A compiled `DQN`, a `keras.Model` whose `fit` takes an environment.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Mnih et al., 2015, "Human-level control through deep reinforcement learning".
        van Hasselt, Guez and Silver, 2016, "Deep reinforcement learning with double Q-learning".
        Wang et al., 2016, "Dueling network architectures for deep reinforcement learning".
        Schaul, Quan, Antonoglou and Silver, 2016, "Prioritized experience replay".
        Hessel et al., 2018, "Rainbow: combining improvements in deep reinforcement learning".

    Example:
        >>> from kphys import dqn
        >>> agent = dqn(4, 2, hidden_units=(64, 64), seed=0)
        >>> history = agent.fit("CartPole-v1", epochs=2, steps_per_epoch=1_000, verbose=0)
        >>> len(history.history["episode_return"])
        2
        >>> agent.act([0.0, 0.1, 0.0, -0.1]) in (0, 1)
        True
    """
    shape = _networks.observation_shape(observation_shape)
    num_actions = _arguments.integer("num_actions", num_actions, minimum=2)
    units = _networks.hidden_units_for(shape, hidden_units)
    activation = _parts.activation_name(activation)
    _parts.check_room("`hidden_units` and `num_actions`", units[-1], num_actions)
    seeds = _parts.Seeds(seed)
    inputs, features = _networks.observed(shape, normalization, activation, seeds)
    if _arguments.flag("dueling", dueling):
        # The last hidden layer is doubled, one for each stream.
        *units, last = units
        head = Dueling(num_actions, last, activation, seeds(), dtype="float32", name="q")
    else:
        start = keras.initializers.GlorotUniform(seeds())
        head = keras.layers.Dense(num_actions, kernel_initializer=start, dtype="float32", name="q")
    features = _networks.hidden_layers(features, units, activation, seeds)
    agent = DQN(
        keras.Model(inputs, head(features), name="q_network"),
        double=double,
        n_step=n_step,
        discount=discount,
        replay_capacity=replay_capacity,
        prioritized=prioritized,
        priority_exponent=priority_exponent,
        importance_exponent=importance_exponent,
        batch_size=batch_size,
        learning_starts=learning_starts,
        train_period=train_period,
        gradient_steps=gradient_steps,
        target_update_period=target_update_period,
        tau=tau,
        delta=delta,
        epsilon_start=epsilon_start,
        epsilon_end=epsilon_end,
        exploration_steps=exploration_steps,
        frame_stack=frame_stack,
        save_replay=save_replay,
        seed=seed,
        name=_parts.model_name(name, "dqn"),
    )
    usual = keras.optimizers.schedules.PolynomialDecay(1e-3, 40_000, 1e-4)
    optimizer = _networks.make_optimizer(optimizer, learning_rate, usual, global_clipnorm)
    family = "dense" if len(shape) == 1 else "convolutional"
    agent.compile(optimizer, jit_compile=execution(family).jit_compile)
    optimizer.build(agent.trainable_variables)  # Its state is saved from the start.
    return agent
