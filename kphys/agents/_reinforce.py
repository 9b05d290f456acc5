"""The class of REINFORCE: whole episodes, and a classifier trained on its own actions, weighted by the return."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kphys import _arguments
from kphys.agents._agent import EPISODES, EXPLORATION
from kphys.agents._baselines import BASELINES, check_baseline, entropies, optimal_gradients
from kphys.agents._episodes import Episodes, play_episodes, quotas
from kphys.agents._play import Play
from kphys.agents._policies import PolicyAgent, check_policy, checked_value_network
from kphys.agents.returns import discounted_returns, normalized, time_means
from kphys.models._saved import with_parts

_MOST_COPIES = 16  # That play side by side: beyond, a step costs hardly less.
_VALUE_STEPS = 20


@keras.saving.register_keras_serializable("kphys")
class Reinforce(PolicyAgent):
    """An agent that makes actions likelier the better the episodes went in which it took them.

    It is what `reinforce` builds and compiles: a `keras.Model` and a classifier of observations, whose classes are the
    actions; π(a|s), `(batch, num_actions)`, comes out. `fit` takes an environment in place of arrays, plays
    `episodes_per_update` whole episodes by chance after π, and then does

        agent.train_on_batch(observations, actions, sample_weight=advantages)

    with the cross-entropy −ln π(a|s), summed over all steps and divided by the number of episodes. So the gradient is
    exactly −⟨Σ_t (G_t − b) d/dθ ln π(a_t|s_t)⟩, the mean over the episodes. The textbook's form of the trick, one-hot
    labels times the return, is wrong here: TensorFlow's cross-entropy has the gradient softmax − labels, which is right
    only where labels sum to 1.

    Each copy of the environment plays a number of episodes fixed beforehand, as the first ones to end would be the
    short ones. Copies that are done wait; a vector environment plays on, and those steps are not counted. An epoch ends
    with the update in which its steps are reached. `.keras` files hold networks, optimizers, counters and random state,
    and training goes on as if nothing had happened. `act` and `evaluate` take the likeliest action.

    Args:
        policy: A Keras model from observations to probabilities: `(batch, num_actions)`, or of two actions that of
            action 1, `(batch, 1)`.
        value_network: One from observations to V(s), `(batch, 1)`, for `baseline="value"`.
        baseline, discount, reward_to_go, normalize_advantages, entropy_bonus, episodes_per_update, value_steps, seed:
            As in `reinforce`.
        **kwargs: `name`, as in `keras.Model`.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Williams, 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning".

    Example:
        >>> import keras
        >>> from kphys import Reinforce
        >>> policy = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", use_bias=False)])
        >>> agent = Reinforce(policy, baseline="optimal", discount=1.0, seed=0)
        >>> agent.compile(keras.optimizers.SGD(0.01))
        >>> history = agent.fit("kphys/RandomWalk-v0", steps_per_epoch=320, verbose=0)
        >>> sorted(history.history)
        ['entropy', 'episode_length', 'episode_return', 'loss', 'steps_per_second']
    """

    def __init__(
        self,
        policy: keras.Model,
        *,
        value_network: keras.Model | None = None,
        baseline: str | None = "mean",
        discount: float = 0.99,
        reward_to_go: bool | None = None,
        normalize_advantages: bool = False,
        entropy_bonus: float = 0.0,
        episodes_per_update: int = 16,
        value_steps: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        check_policy(policy)
        if baseline is not None:
            _arguments.choice("baseline", baseline, BASELINES, also=", or None")
        if reward_to_go is not None:
            _arguments.flag("reward_to_go", reward_to_go)
        self.policy, self.baseline = policy, baseline
        self.discount = _arguments.share("discount", discount)
        self.reward_to_go = baseline != "optimal" if reward_to_go is None else bool(reward_to_go)
        self.normalize_advantages = _arguments.flag("normalize_advantages", normalize_advantages)
        self.entropy_bonus = _arguments.real("entropy_bonus", entropy_bonus, minimum=0)
        self.episodes_per_update = _arguments.integer("episodes_per_update", episodes_per_update)
        check_baseline(baseline, self.reward_to_go, self.normalize_advantages, self.episodes_per_update)
        self.value_network = checked_value_network(value_network, policy, baseline)
        self.value_steps = _checked_value_steps(value_steps, baseline)
        kind = keras.losses.BinaryCrossentropy if self._is_logistic else keras.losses.SparseCategoricalCrossentropy
        self._cross_entropy = kind(reduction="sum")
        self.built = True

    @property
    def num_copies(self) -> int:
        """The number of copies that play side by side, of an environment given by name."""
        return min(self.episodes_per_update, _MOST_COPIES)

    @property
    def learning_logs(self) -> tuple[str, ...]:
        """The names of what is logged of the learning: `entropy` in nats a step, `loss` as `train_step` gives it."""
        return ("loss", "entropy") if self.value_network is None else ("loss", "entropy", "value_loss")

    # === Playing ===

    def _prepare(self, worlds: Any) -> None:
        if worlds.num > self.episodes_per_update:
            raise ValueError(
                f"`environment` has {worlds.num} copies, more than the {self.episodes_per_update} episodes of an "
                "update: make fewer, or the agent with more `episodes_per_update`."
            )
        self._quotas = quotas(self.episodes_per_update, worlds.num)
        self._begun = np.zeros(worlds.num, int)  # By each copy, of the episodes of an update.

    def _next_seed(self, copy: int) -> int:
        # By the episode's number, not by when it begins: training that is resumed plays the same episodes.
        updates, place = divmod(int(self._begun[copy]), int(self._quotas[copy]))
        self._begun[copy] += 1
        self._num_begun += 1
        number = (self.num_updates + updates) * self.episodes_per_update + copy + place * len(self._quotas)
        return int(self._generator(EPISODES, number).integers(2**31))

    def _round(self, play: Play, room: int) -> None:
        """Plays the episodes of an update and makes it."""
        if not play.worlds.can_wait:
            # Copies that were done have played on.
            self._begun[:] = 0
            play.begin()
        generator = self._generator(EXPLORATION, self.num_updates)
        episodes = play_episodes(play, self._quotas, self._probabilities(), generator, self.num_steps)
        targets, weights = self._targets(episodes)
        # What `train_on_batch` does after it has made the train function, which GradientClipping takes for its end.
        logs = self.train_function(iter([(episodes.observations, targets, weights)]))
        self._note(**{name: logs[name] for name in self.learning_logs})
        self.num_steps += len(weights)
        self.num_updates += 1
        self._begun[:] = 1  # Those that wait at their start are of the next update.

    # === Learning ===

    def _targets(self, episodes: Episodes) -> tuple[Any, np.ndarray]:
        """Gives what `train_on_batch` takes: actions, with what else a baseline needs, and advantages."""
        rewards, actions = episodes.rewards, episodes.actions.astype("int32")
        if self.baseline == "value":
            # Where a time limit cut an episode off, its return goes on by what it is worth there.
            rewards = rewards.copy()
            rewards[episodes.last_rows] += self.discount * self._values(episodes.last_observations) * episodes.cut_off
        returns = episodes.each(lambda part: discounted_returns(part, self.discount), rewards)
        if not self.reward_to_go:
            returns = returns[episodes.times == 0][episodes.numbers]
        if self.baseline == "optimal":
            return {"actions": actions, "episodes": episodes.numbers.astype("int32")}, returns.astype("float32")
        advantages = returns
        if self.baseline == "mean":
            advantages = returns - time_means(returns, episodes.times)
        elif self.baseline == "value":
            advantages = returns - self._values(episodes.observations)
        advantages = (normalized(advantages) if self.normalize_advantages else advantages).astype("float32")
        if self.baseline != "value":
            return actions, advantages
        return {"actions": actions, "returns": returns.astype("float32")}, advantages

    def train_step(self, data: Any) -> dict[str, Any]:
        """Makes one update of the steps of `episodes_per_update` episodes; gives the logs.

        `loss` is −⟨Σ_t (A_t ln π(a_t|s_t) + c H_t)⟩ with advantages A, the sample weights, and entropies H. Targets
        are the actions. With the value baseline they are a dictionary of `actions` and `returns`, with the optimal one
        of `actions` and `episodes`, the number of each step's, and the sample weights are the returns.
        """
        observations, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        targets = targets if isinstance(targets, dict) else {"actions": targets}
        also = {"optimal": "episodes", "value": "returns"}.get(self.baseline)
        if also is not None and also not in targets:
            raise ValueError(f'`y` must be {{"actions": …, "{also}": …}} with baseline="{self.baseline}".')
        variables = self.policy.trainable_variables
        optimizer = self.optimizer if self.value_network is None else self.policy_optimizer
        scale = optimizer.scale_loss(ops.ones(()))
        with tf.GradientTape() as tape:
            probabilities = ops.cast(self.policy(observations, training=True), "float32")
            losses = self._surprise(targets["actions"], probabilities, weights) / self.episodes_per_update
            every_entropy = entropies(probabilities)
            others = sum(self.policy.losses) - self.entropy_bonus * ops.sum(every_entropy) / self.episodes_per_update
            aim = scale * (others if self.baseline == "optimal" else losses + others)
        gradients = tape.gradient(aim, variables, unconnected_gradients="zero")
        if self.baseline == "optimal":
            of_returns = optimal_gradients(
                self._score,
                variables,
                observations,
                targets["actions"],
                weights,
                targets["episodes"],
                self.episodes_per_update,
            )
            gradients = [g + scale * own for g, own in zip(gradients, of_returns, strict=True)]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        logs = {"loss": losses + others, "entropy": ops.mean(every_entropy)}
        if self.baseline == "value":
            logs["value_loss"] = self._train_values(observations, targets["returns"])
        return logs

    def _surprise(self, actions: Any, probabilities: Any, weights: Any = None) -> Any:
        """Gives −Σ w ln π(a)."""
        if self._is_logistic:
            actions = ops.cast(actions, "float32")[:, None]
        return self._cross_entropy(actions, probabilities, sample_weight=weights)

    def _score(self, observations: Any, actions: Any) -> Any:
        """Gives Σ ln π(a|s)."""
        return -self._surprise(actions, ops.cast(self.policy(observations, training=True), "float32"))

    def _train_values(self, observations: Any, returns: Any) -> Any:
        """Takes `value_steps` steps on (V(s) − G)² and gives its mean at the last."""
        optimizer, variables = self.value_optimizer, self.value_network.trainable_variables

        def step(index: Any, _: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                values = ops.cast(self.value_network(observations, training=True), "float32")[:, 0]
                loss = ops.mean(ops.square(values - returns)) + sum(self.value_network.losses)
                scaled = optimizer.scale_loss(loss)
            optimizer.apply_gradients(zip(tape.gradient(scaled, variables), variables, strict=True))
            return index + 1, loss

        start = tf.constant(0), tf.zeros(())
        return tf.while_loop(lambda index, _: index < self.value_steps, step, start)[1]

    # === Files ===

    def get_config(self) -> dict[str, Any]:
        """Gives what the model was made with."""
        config = {name: getattr(self, name) for name in (*_SETTINGS, "name")}
        return {**config, **{name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _NETWORKS}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Reinforce:
        """Makes a model from what `get_config` gave."""
        return cls(**with_parts(config, _NETWORKS, custom_objects))


_NETWORKS = ("policy", "value_network")
_SETTINGS = (
    *("baseline", "discount", "reward_to_go", "normalize_advantages", "entropy_bonus", "episodes_per_update"),
    *("value_steps", "seed"),
)


def _checked_value_steps(steps: int | None, baseline: str | None) -> int | None:
    if baseline == "value":
        return _VALUE_STEPS if steps is None else _arguments.integer("value_steps", steps)
    if steps is not None:
        raise ValueError(f'`value_steps` must be None with baseline={baseline!r}: it belongs to baseline="value".')
    return None
