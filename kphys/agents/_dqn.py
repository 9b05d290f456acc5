"""The class of deep Q-learning: how it plays, what it remembers, and its training, many steps in one compiled call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.agents import _replay_checks
from kphys.agents._agent import EXPLORATION, LEARNING, Agent
from kphys.agents._networks import check_network
from kphys.agents._play import Play, check_finite
from kphys.agents.replay import ReplayBuffer
from kphys.agents.returns import td_targets
from kphys.models._saved import with_parts

_BYTES_AT_ONCE = 2**26  # Of observations for one compiled call: bounds the memory.


@keras.saving.register_keras_serializable("kphys")
class DQN(Agent):
    """An agent that learns what every action is worth; what `dqn` builds and compiles.

    A `keras.Model`: observations `(batch, *observation_shape)` in, Q(s, a), `(batch, num_actions)`, out. `fit` takes an
    environment in place of arrays. Compiled without a `loss` it has Huber's, with `delta`. `target_network` is the copy
    from which the targets come, and `replay` what it has seen. `.keras` files hold both networks, optimizer, counters
    and random state, and with `save_replay` the buffer, so that training that is resumed where an episode ended goes on
    as if nothing had happened.

    Args:
        q_network: A Keras model from observations to one value an action.
        double, n_step, discount, replay_capacity, prioritized, priority_exponent, importance_exponent, batch_size,
            learning_starts, train_period, gradient_steps, target_update_period, tau, delta, epsilon_start,
            epsilon_end, exploration_steps, frame_stack, save_replay, seed: As in `dqn`.
        **kwargs: `name`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Mnih et al., 2015, "Human-level control through deep reinforcement learning".

    Example:
        >>> import keras
        >>> from kphys import DQN
        >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(32, "tanh"), keras.layers.Dense(2)])
        >>> agent = DQN(network, seed=0)
        >>> agent.compile(keras.optimizers.Adam(1e-3))
        >>> history = agent.fit("CartPole-v1", steps_per_epoch=500, verbose=0)
        >>> sorted(history.history)
        ['episode_length', 'episode_return', 'epsilon', 'loss', 'q_mean', 'steps_per_second']
    """

    learning_logs = ("loss", "q_mean", "epsilon")

    def __init__(
        self,
        q_network: keras.Model,
        *,
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
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        check_network("q_network", q_network, "(batch, num_actions) values")
        self.q_network = q_network
        self.num_actions = q_network.output_shape[-1]
        self.target_network = _copy(q_network)
        self.double = _arguments.flag("double", double)
        self.n_step = _arguments.integer("n_step", n_step)
        self.discount = _arguments.share("discount", discount)
        self.replay_capacity = _arguments.integer("replay_capacity", replay_capacity)
        self.prioritized = _arguments.flag("prioritized", prioritized)
        self.priority_exponent = _replay_checks.priority_exponent(priority_exponent, self.prioritized)
        self.importance_exponent = _replay_checks.importance_exponent(importance_exponent, self.prioritized, usual=0.4)
        self.batch_size = _arguments.integer("batch_size", batch_size)
        self.learning_starts = _arguments.integer("learning_starts", learning_starts, minimum=0)
        self.train_period = _arguments.integer("train_period", train_period)
        self.gradient_steps = _arguments.integer("gradient_steps", gradient_steps)
        self.target_update_period = _arguments.integer("target_update_period", target_update_period)
        self.tau = _arguments.share("tau", tau)
        self.delta = _arguments.real("delta", delta, positive=True)
        self.epsilon_start = _arguments.share("epsilon_start", epsilon_start)
        self.epsilon_end = _arguments.share("epsilon_end", epsilon_end)
        self.exploration_steps = _arguments.integer("exploration_steps", exploration_steps)
        self.frame_stack = _arguments.integer("frame_stack", frame_stack)
        self.save_replay = _arguments.flag("save_replay", save_replay)
        self.replay: ReplayBuffer | None = None
        self.built = True

    @property
    def policy_network(self) -> keras.Model:
        """The network that chooses actions, `q_network`."""
        return self.q_network

    @property
    def epsilon(self) -> float:
        """The probability of a random action now: from `epsilon_start` linearly to `epsilon_end`."""
        return float(self._epsilon_at(self.num_steps))

    def _epsilon_at(self, steps: Any) -> Any:
        return np.interp(steps, [0, self.exploration_steps], [self.epsilon_start, self.epsilon_end])

    # === Playing ===

    def _prepare(self, worlds: Any) -> None:
        if self.replay is None:
            self.replay = self._new_replay(worlds.spaces.shape, worlds.spaces.dtype, worlds.num)
        kept = (self.replay.num_environments, self.replay.dtype)
        if kept != (worlds.num, worlds.spaces.dtype):
            raise ValueError(
                f"The replay buffer holds what {kept[0]} copies of an environment showed, as {kept[1]}, and this one "
                f"has {worlds.num}, as {worlds.spaces.dtype}: train on as many, or begin anew with agent.replay = None."
            )

    def _new_replay(self, shape: tuple[int, ...], dtype: Any, num: int) -> ReplayBuffer:
        return ReplayBuffer(
            self.replay_capacity,
            shape,
            dtype,
            num_environments=num,
            frame_stack=self.frame_stack,
            n_step=self.n_step,
            discount=self.discount,
            prioritized=self.prioritized,
            priority_exponent=self.priority_exponent,
        )

    def _rounds(self, steps: int, num: int) -> int:
        return math.ceil(steps / max(self.train_period, num))

    def _round(self, play: Play, room: int) -> None:
        """Plays to the next step at which training is due, at most `room` steps, and trains."""
        first = self.num_steps
        self._collect(play, math.ceil(min(self.train_period - first % self.train_period, room) / play.num))
        updates = self.num_steps // self.target_update_period - first // self.target_update_period
        if updates:
            # Several updates from one network are one, with all their shares.
            self._move_target(1 - (1 - self.tau) ** updates)
        rounds = self.num_steps // self.train_period - first // self.train_period
        if rounds and self.num_steps >= self.learning_starts and len(self.replay):
            self._learn(rounds * self.gradient_steps)

    def _collect(self, play: Play, steps: int) -> None:
        """Plays ε-greedily and remembers it."""
        num, spaces = play.num, play.worlds.spaces
        generator = self._generator(EXPLORATION, self.num_steps)
        epsilons = self._epsilon_at(self.num_steps + num * np.arange(steps))
        explores = generator.random((steps, num)) < epsilons[:, None]
        chosen = generator.integers(self.num_actions, size=(steps, num))
        frames = np.empty((steps, num, *spaces.shape), spaces.dtype)
        following = np.empty_like(frames)
        rewards = np.empty((steps, num))
        terminated, truncated, real = (np.empty((steps, num), bool) for _ in range(3))
        forward = self._forward()
        for step in range(steps):
            frames[step] = play.frames
            if not explores[step].all():
                best = self._best(forward, play.observations)
                chosen[step] = np.where(explores[step], chosen[step], best)
            following[step], rewards[step], terminated[step], truncated[step], real[step] = play.step(chosen[step])
        first, self.num_steps = self.num_steps, self.num_steps + steps * num
        check_finite(first, reward=rewards, observation=following)
        for copy in range(num):
            rows = real[:, copy]
            arrays = (array[rows, copy] for array in (frames, chosen, rewards, terminated, truncated, following))
            if rows.any():
                self.replay.extend(copy, *arrays)
        self._note(epsilon=epsilons[-1])

    def _leave(self, play: Play) -> None:
        self._break_off(range(play.num))

    def _break_off(self, copies: Sequence[int]) -> None:
        """Has episodes end where they stand, as a time limit would: others begin with the next `fit`."""
        for copy in copies:
            self.replay.close(copy)

    # === Learning ===

    def _learn(self, steps: int) -> None:
        """Takes gradient steps, as many in one compiled call as fit into `_BYTES_AT_ONCE`."""
        for first in range(0, steps, self._most_at_once):
            self._learn_at_once(min(self._most_at_once, steps - first))

    @property
    def _most_at_once(self) -> int:
        bytes_a_step = 2 * self.batch_size * math.prod(self.input_shape[1:]) * self.replay.dtype.itemsize
        return max(1, _BYTES_AT_ONCE // bytes_a_step)

    def _learn_at_once(self, steps: int) -> None:
        generator = self._generator(LEARNING, self.num_updates)
        batches = self.replay.sample(steps, self.batch_size, generator, self.importance_exponent)
        indices = batches.pop("indices")
        loss, q_mean, td_errors = self.train_function(batches)
        self.num_updates += steps
        if self.prioritized:
            self.replay.update_priorities(indices, td_errors.numpy())
        self._note(loss=loss, q_mean=q_mean)

    def make_train_function(self, force: bool = False) -> Any:
        """Makes the compiled call that takes as many gradient steps as it is given batches, as Keras makes its own."""
        if self.train_function is not None and not force:
            return self.train_function

        def train(batches: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            steps = batches["rewards"].shape[0]
            batches = {**batches, "next_q": self._judged(batches["next_observations"])}
            found = tf.TensorArray(tf.float32, steps)
            loss = q_mean = tf.zeros(())
            for step in tf.range(steps):
                logs = self.train_step({name: array[step] for name, array in batches.items()})
                loss, q_mean = loss + logs["loss"], q_mean + logs["q_mean"]
                found = found.write(step, logs["td_errors"])
            return loss / steps, q_mean / steps, found.stack()

        self.train_function = tf.function(train, jit_compile=self.jit_compile is True)
        if self.replay is not None:
            # Traced before the first batch ends, when TensorBoard wants to draw it.
            self.train_function.get_concrete_function(self._batches_of(min(self.gradient_steps, self._most_at_once)))
        return self.train_function

    def _batches_of(self, steps: int) -> dict[str, tf.TensorSpec]:
        shape = (steps, self.batch_size)
        observations = tf.TensorSpec((*shape, *self.input_shape[1:]), self.replay.dtype)
        numbers = {name: tf.TensorSpec(shape, "float32") for name in ("rewards", "discounts", "weights")}
        actions = tf.TensorSpec(shape, "int32")
        return {"observations": observations, "next_observations": observations, "actions": actions, **numbers}

    def _judged(self, following: tf.Tensor) -> tf.Tensor:
        """Gives Q⁻ of all next observations, `(steps, batch, num_actions)`.

        The target network stands still meanwhile: one product of large matrices costs a fifth of many of small ones.
        """
        shape = following.shape
        flat = tf.reshape(following, (shape[0] * shape[1], *shape[2:]))
        return tf.reshape(self.target_network(flat, training=False), (*shape[:2], self.num_actions))

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one gradient step on a batch of transitions; `next_q` holds Q⁻(s', ·)."""
        choosing = self.q_network(data["next_observations"], training=False) if self.double else None
        targets = td_targets(data["rewards"], data["discounts"], data["next_q"], choosing)
        taken = ops.one_hot(data["actions"], self.num_actions)
        with tf.GradientTape() as tape:
            q = ops.sum(self.q_network(data["observations"], training=True) * taken, axis=-1)
            loss = self._loss(targets[:, None], q[:, None], data["weights"])
            scaled = self.optimizer.scale_loss(loss)
        variables = self.q_network.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
        return {"loss": loss, "q_mean": ops.mean(q), "td_errors": targets - q}

    def _loss(self, targets: tf.Tensor, q: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        if self.loss is not None:
            return self.compute_loss(y=targets, y_pred=q, sample_weight=weights)
        # Not as Keras' object, whose file forgets δ.
        huber = keras.losses.huber(targets, q, self.delta)
        return ops.mean(huber * weights) + sum(self.q_network.losses)

    def _move_target(self, share: float) -> None:
        """Moves the target network towards the network, θ⁻ ← share θ + (1 − share) θ⁻."""
        for target, variable in zip(self.target_network.variables, self.q_network.variables, strict=True):
            target.assign(variable if share == 1 else share * variable.value + (1 - share) * target.value)

    # === Files ===

    def _kept_arrays(self) -> dict[str, np.ndarray]:
        arrays = super()._kept_arrays()
        if self.save_replay and self.replay is not None:
            arrays |= {f"agent_replay_{name}": array for name, array in self.replay.state(copy=False).items()}
        return arrays

    def _put_back(self, arrays: dict[str, np.ndarray]) -> None:
        super()._put_back(arrays)
        prefix = "agent_replay_"
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        self.replay = None
        if state:
            frames = state["observations"]
            self.replay = self._new_replay(frames.shape[1:], frames.dtype, int(state["num_environments"]))
            self.replay.restore(state)
            self._break_off(range(self.replay.num_environments))

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        config = {name: getattr(self, name) for name in _SETTINGS}
        return {**config, "q_network": keras.saving.serialize_keras_object(self.q_network), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> DQN:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, ("q_network",), custom_objects))


_SETTINGS = (
    *("double", "n_step", "discount", "replay_capacity", "prioritized", "priority_exponent", "importance_exponent"),
    *("batch_size", "learning_starts", "train_period", "gradient_steps", "target_update_period"),
    *("tau", "delta"),
    *("epsilon_start", "epsilon_end", "exploration_steps", "frame_stack", "save_replay", "seed"),
)


def _copy(network: keras.Model) -> keras.Model:
    """Gives a network that says the same, not to be trained."""
    copy = keras.models.clone_model(network)
    copy.trainable = False
    copy.set_weights(network.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # It computes with what it has derived from its weights.
    return copy
