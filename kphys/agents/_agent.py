"""What all agents have in common: `fit` on an environment, `act`, `evaluate`, and a state that files keep whole."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from kphys import _arguments
from kphys.agents._acting import forward_pass
from kphys.agents._episodes import quotas
from kphys.agents._play import Play
from kphys.agents._worlds import open_worlds
from kphys.models._arrays import check_finite as check_finite_array
from kphys.models._execution import on_replicas
from kphys.models._saved import KeepsState

# What the random numbers of an agent are for: each purpose draws from a stream of its own.
EPISODES, EXPLORATION, LEARNING, EVALUATION = range(4)


class Evaluation(NamedTuple):
    """The mean return of an agent over some episodes, and its standard error."""

    mean: float
    error: float


class Agent(KeepsState, keras.Model):
    """A Keras model that is fitted to an environment.

    A class of agents has `policy_network`, which `_best` turns into actions; `_prepare`, called when training begins;
    and `_round`, which plays and learns a little. All randomness is a function of `_entropy` and of counters,
    so that these are all that a file has to hold of it.
    """

    plays = True
    frame_stack = 1
    num_copies = 1  # That are made of an environment given by name.

    def __init__(self, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        if on_replicas():
            raise ValueError("Agents train on one device: build them outside of the strategy's scope.")
        self.seed = _arguments.seed("seed", seed)
        # What numbers are drawn with: the seed, or one of its own.
        self._entropy = np.random.SeedSequence(self.seed).generate_state(4)
        self.num_steps = self.num_updates = self._num_begun = 0

    def _generator(self, purpose: int, counter: int) -> np.random.Generator:
        return np.random.default_rng([*self._entropy.tolist(), purpose, counter])

    # === Training ===

    def fit(
        self,
        environment: Any = None,
        *,
        epochs: int = 1,
        steps_per_epoch: int = 10_000,
        callbacks: Any = None,
        validation_data: Any = None,
        validation_episodes: int = 10,
        verbose: int | str = "auto",
        initial_epoch: int = 0,
    ) -> keras.callbacks.History:
        """Plays in an environment and learns from it.

        Every `fit` begins new episodes. Steps are those of the environment, of all its copies together; a batch, as
        callbacks count them, is one round of playing and learning.

        Args:
            environment: A Gymnasium environment, a vector environment, or the name of a registered one.
            epochs: The epoch to end with.
            steps_per_epoch: Steps of an epoch.
            callbacks: Keras callbacks; their logs are those of `History`.
            validation_data: Another environment, in the same forms, in which the agent is evaluated after every epoch.
            validation_episodes: Number of episodes of an evaluation.
            verbose, initial_epoch: As in `keras.Model.fit`.

        Returns:
            Keras' `History`: `episode_return` and `episode_length`, means over the episodes that ended in the epoch, or
            those of the epoch before where none did; `steps_per_second`; what the agent logs of its learning; and with
            `validation_data` `val_episode_return`. NaN where no episode has ended yet, or nothing was learnt in the
            epoch; `EarlyStopping` leaves these out.

        Raises:
            ValueError, TypeError: An environment that this agent cannot play in, or an argument out of range.
            FloatingPointError: A reward or an observation that is not finite; the message names the step.
        """
        self._assert_compile_called("fit")
        epochs = _arguments.integer("epochs", epochs)
        steps_per_epoch = _arguments.integer("steps_per_epoch", steps_per_epoch)
        initial_epoch = _arguments.integer("initial_epoch", initial_epoch, minimum=0)
        validation_episodes = _arguments.integer("validation_episodes", validation_episodes)
        _check_another(environment, validation_data)
        with contextlib.ExitStack() as opened:
            worlds = opened.enter_context(self._opened("environment", environment, self.num_copies))
            evaluated = None
            if validation_data is not None:
                validation = self._opened("validation_data", validation_data, validation_episodes)
                evaluated = functools.partial(self._evaluated, opened.enter_context(validation), validation_episodes, 0)
            if not isinstance(callbacks, keras.callbacks.CallbackList):
                callbacks = keras.callbacks.CallbackList(
                    callbacks,
                    add_history=True,
                    add_progbar=verbose != 0,
                    verbose=verbose,
                    epochs=epochs,
                    steps=self._rounds(steps_per_epoch, worlds.num),
                    model=self,
                )
            self._prepare(worlds)
            self._train(worlds, initial_epoch, epochs, steps_per_epoch, evaluated, callbacks)
        return self.history

    def _train(
        self,
        worlds: Any,
        initial_epoch: int,
        epochs: int,
        steps_per_epoch: int,
        evaluated: Callable[[], Evaluation] | None,
        callbacks: keras.callbacks.CallbackList,
    ) -> None:
        self.stop_training = False
        self.make_train_function()
        callbacks.on_train_begin()
        # BackupAndRestore says by this attribute where it goes on.
        first_epoch = self._initial_epoch or initial_epoch
        # Past Keras, which would track it.
        play = vars(self)["_play"] = Play(worlds, self._next_seed, self.frame_stack)
        logs: dict[str, float] = {}
        try:
            for epoch in range(first_epoch, epochs):
                callbacks.on_epoch_begin(epoch)
                logs = self._epoch(play, steps_per_epoch, callbacks, logs)
                if evaluated is not None:
                    logs["val_episode_return"] = evaluated().mean
                callbacks.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        finally:
            self._num_begun = self._num_touched
            del self._play
            self._leave(play)
        callbacks.on_train_end(logs)

    def _epoch(
        self, play: Play, steps: int, callbacks: keras.callbacks.CallbackList, before: dict[str, float]
    ) -> dict[str, float]:
        started, first_step, index = time.perf_counter(), self.num_steps, 0
        play.ended.clear()
        self._sums: dict[str, list[float]] = {}
        while self.num_steps < first_step + steps and not self.stop_training:
            callbacks.on_train_batch_begin(index)
            self._round(play, first_step + steps - self.num_steps)
            callbacks.on_train_batch_end(index, self._logs(play, before))
            index += 1
        seconds = time.perf_counter() - started
        logs = self._logs(play, before)
        # For want of an episode, or of learning.
        unknown = (name for name, value in logs.items() if math.isnan(value) and name not in self._sums)
        self.unknown_logs = frozenset(unknown)
        return {**logs, "steps_per_second": (self.num_steps - first_step) / seconds}

    def _logs(self, play: Play, before: dict[str, float]) -> dict[str, float]:
        _, returns, lengths = zip(*play.ended, strict=True) if play.ended else ((), (), ())
        played = {"episode_return": returns, "episode_length": lengths}
        logs = {name: np.mean(values) if values else before.get(name, math.nan) for name, values in played.items()}
        learnt = {name: np.mean(self._sums[name]) if name in self._sums else math.nan for name in self.learning_logs}
        return {name: float(value) for name, value in {**logs, **learnt}.items()}

    def _note(self, **values: float) -> None:
        """Adds to the means of the epoch."""
        for name, value in values.items():
            self._sums.setdefault(name, []).append(float(value))

    def _next_seed(self, copy: int) -> int:
        seed = self._generator(EPISODES, self._num_begun).integers(2**31)
        self._num_begun += 1
        return int(seed)

    @contextlib.contextmanager
    def _opened(self, name: str, environment: Any, num: int) -> Iterator[Any]:
        """Gives the worlds of an environment, and closes those that were made of a name."""
        worlds = open_worlds(name, environment, num, self.input_shape[1:], self.num_actions, self.frame_stack)
        try:
            yield worlds
        finally:
            if isinstance(environment, str):
                worlds.close()

    def _rounds(self, steps: int, num: int) -> int | None:
        """Gives the number of rounds in an epoch, for the progress bar; `None` where nobody knows."""
        return None

    def _prepare(self, worlds: Any) -> None:
        """Makes ready for these worlds."""

    def _leave(self, play: Play) -> None:
        """Takes leave of episodes that go on."""

    # === Playing ===

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of a batch of observations."""
        return tuple(self.policy_network.input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Gives what the network says of observations, `(batch, *observation_shape)`."""
        return self.policy_network(inputs, training=training)

    def _forward(self) -> Any:
        """Gives the forward pass with the weights of now."""
        if "_forward_now" not in vars(self):
            vars(self)["_forward_now"] = forward_pass(self.policy_network)
        return vars(self)["_forward_now"]()

    def act(self, observation: Any) -> int | np.ndarray:
        """Gives the best action for an observation, or for a batch of them.

        Args:
            observation: One observation in the shape that the network takes, or several with a first axis; or the
                number of one discrete state, counted from 0.

        Returns:
            The number of an action, counted from 0, or an array of them.

        Raises:
            ValueError: An observation of another shape, or one that is not finite.
        """
        shape = self.input_shape[1:]
        observations = np.asarray(observation)
        if observations.ndim == 0 and observations.dtype.kind in "iu" and len(shape) == 1:
            observations = _one_hot(int(observations), shape[0])
        elif observations.shape == shape[:-1] and shape[-1] == 1:
            observations = observations[..., None]
        if observations.shape != shape and observations.shape[1:] != shape:
            raise ValueError(
                f"`observation` must have the shape {shape}, or (n, {', '.join(map(str, shape))}) for several, got "
                f"{observations.shape}."
            )
        if observations.dtype != np.uint8:
            observations = observations.astype("float32")
            check_finite_array("observation", observations)
        single = observations.shape == shape
        actions = self._best(self._forward(), observations[None] if single else observations)
        return int(actions[0]) if single else actions

    def _best(self, forward: Any, observations: np.ndarray) -> np.ndarray:
        """Gives the best actions for a batch of observations."""
        return forward(observations).argmax(axis=-1)

    def evaluate(self, environment: Any = None, episodes: int = 10, seed: int = 0) -> Evaluation:
        """Gives the mean return of the best actions over whole episodes, and its standard error.

        Args:
            environment: A Gymnasium environment, a vector environment, or the name of a registered one.
            episodes: Number of episodes; at least 2 for an error, which is NaN else.
            seed: Fixes the episodes: the same ones however often, and whatever the number of copies. In a vector
                environment that begins new episodes by itself it fixes the first ones only.

        Returns:
            `mean` and `error`.

        Raises:
            ValueError, TypeError: An environment that this agent cannot play in, or an argument out of range.

        Example:
            >>> from kphys import dqn
            >>> agent = dqn(4, 2, hidden_units=8, seed=0)
            >>> mean, error = agent.evaluate("CartPole-v1", episodes=3)
            >>> mean >= 8
            True
        """
        episodes = _arguments.integer("episodes", episodes)
        seed = 0 if _arguments.seed("seed", seed) is None else int(seed)
        with self._opened("environment", environment, min(episodes, 16)) as worlds:
            return self._evaluated(worlds, episodes, seed)

    def _evaluated(self, worlds: Any, episodes: int, seed: int) -> Evaluation:
        returns = played_returns(self, worlds, episodes, seed)
        error = returns.std(ddof=1) / math.sqrt(episodes) if episodes > 1 else math.nan
        return Evaluation(float(returns.mean()), float(error))

    def record_video(self, environment: Any, path: str | os.PathLike[str], seed: int = 0, fps: int = 30) -> float:
        """Writes a film of one episode of the best actions, and gives its return.

        Args:
            environment: A Gymnasium environment made with `render_mode="rgb_array"`, or the name of a registered one.
            path: The file to write: `.gif`, or `.mp4` where ffmpeg is installed.
            seed: Fixes the episode.
            fps: Frames in a second.

        Raises:
            ValueError, TypeError: An environment that does not draw itself, or a file of another kind.
        """
        from kphys.agents._film import record

        seed = 0 if _arguments.seed("seed", seed) is None else int(seed)

        def play(drawn: Any) -> float:
            with self._opened("environment", drawn, 1) as worlds:
                return float(played_returns(self, worlds, 1, seed)[0])

        return record(play, environment, path, fps)

    # === Files ===

    @property
    def _num_touched(self) -> int:
        """The number of episodes in which a step was made: the others are begun again."""
        return self._num_begun - (self._play.num_untouched if "_play" in vars(self) else 0)

    def _kept_arrays(self) -> dict[str, np.ndarray]:
        """Gives counters and random state by their names in the file."""
        counters = [self.num_steps, self.num_updates, self._num_touched]
        return {"agent_counters": np.array([*counters, *self._entropy.tolist()], "int64")}

    def _put_back(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes over what `_kept_arrays` gave."""
        counters = arrays["agent_counters"].tolist()
        self.num_steps, self.num_updates, self._num_begun = counters[:3]
        self._entropy = np.array(counters[3:], "uint32")

    def save_own_variables(self, store: Any) -> None:
        """Keeps counters and random state beside the variables."""
        super().save_own_variables(store)
        for name, array in self._kept_arrays().items():
            store[name] = array

    def load_own_variables(self, store: Any) -> None:
        """Puts them back."""
        every = {name: store[name] for name in store.keys()}  # noqa: SIM118
        super().load_own_variables({name: every[name] for name in every if not name.startswith("agent_")})
        self._put_back({name: every[name][()] for name in every if name.startswith("agent_")})


def _check_another(environment: Any, validation_data: Any) -> None:
    worlds = [getattr(world, "unwrapped", world) for world in (environment, validation_data)]
    if worlds[0] is worlds[1] and not isinstance(validation_data, (str, type(None))):
        raise ValueError(
            "`validation_data` must be another environment than `environment`, got the same one: an evaluation would "
            "play on in the episodes that the agent learns from. Make a second one."
        )


def _one_hot(state: int, num_states: int) -> np.ndarray:
    if not 0 <= state < num_states:
        raise ValueError(f"`observation` must be a state from 0 to {num_states - 1}, got {state}.")
    return np.eye(num_states, dtype="float32")[state]


def played_returns(agent: Agent, worlds: Any, episodes: int, seed: int) -> np.ndarray:
    """Gives the returns of episodes of the best actions; copy k of n plays the episodes k, k + n, k + 2 n, …."""
    seeds = np.random.default_rng([seed, EVALUATION]).integers(2**31, size=episodes + 2 * worlds.num)
    own = [iter(seeds[copy :: worlds.num].tolist()) for copy in range(worlds.num)]
    play = Play(worlds, lambda copy: next(own[copy], copy), agent.frame_stack)
    left, forward, returns = quotas(episodes, worlds.num), agent._forward(), []
    while (active := left > 0).any():
        play.step(agent._best(forward, play.observations), active)
        for copy, episode_return, _ in play.ended:
            left[copy] -= 1
            returns.append(episode_return)
        play.ended.clear()
    return np.array(returns)
