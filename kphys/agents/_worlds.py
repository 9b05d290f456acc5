"""Environments as agents see them: some copies side by side, each new episode with a seed of its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Transitions(NamedTuple):
    """What one step of all copies gave, each with a first axis of copies.

    `real` is False where an environment used the step to begin a new episode by itself: nothing to learn from.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    real: np.ndarray


class Spaces:
    """What the observations and actions of an environment are, and how networks take them."""

    def __init__(self, observation_space: Any, action_space: Any, sample_shape: tuple[int, ...]):
        self.num_actions = int(action_space.n)
        self.first_action = int(action_space.start)
        self._num_states = int(observation_space.n) if hasattr(observation_space, "n") else None
        shape = tuple(observation_space.shape)
        if self._num_states:
            self._first_state, self._one_hot = int(observation_space.start), np.eye(self._num_states, dtype="float32")
            shape = (self._num_states,)
        # Gray images need an axis of channels where the network has one.
        self.shape = (*shape, 1) if len(shape) == 2 and len(sample_shape) == 3 else shape
        self.dtype = np.dtype("uint8" if observation_space.dtype == np.uint8 else "float32")

    def seen(self, observation: Any) -> np.ndarray:
        """Gives one observation, or several of them, as networks take it: discrete states one-hot."""
        if self._num_states:
            return self._one_hot[np.asarray(observation) - self._first_state]
        observation = np.asarray(observation, self.dtype)
        return observation[..., None] if self.shape[-1:] == (1,) and observation.shape[-1:] != (1,) else observation


class Copies:
    """Single environments of one kind; seeds fix their episodes."""

    can_wait = True

    def __init__(self, environments: list[Any], spaces: Spaces):
        self._environments, self.spaces, self.num = environments, spaces, len(environments)
        self._all_real = np.ones(self.num, bool)

    def begin_all(self, seeds: list[int]) -> np.ndarray:
        """Begins new episodes in all copies and gives the first observations."""
        return np.stack([self._begin(copy, seed) for copy, seed in enumerate(seeds)])

    def begin(self, observations: np.ndarray, copies: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Begins new episodes in these copies and gives the observations from which all go on."""
        observations = observations.copy()
        for copy, seed in zip(copies, seeds, strict=True):
            observations[copy] = self._begin(copy, seed)
        return observations

    def _begin(self, copy: int, seed: int) -> np.ndarray:
        return self.spaces.seen(self._environments[copy].reset(seed=seed)[0])

    def step(self, actions: np.ndarray, before: np.ndarray, active: np.ndarray | None = None) -> Transitions:
        """Takes one action in every copy, or in the `active` ones. Where an episode ends, `begin` must follow.

        `before` is what was last seen: of copies that wait it is given again.
        """
        spaces, real = self.spaces, self._all_real if active is None else active
        observations = before.copy()
        rewards, terminated, truncated = np.zeros(self.num), np.zeros(self.num, bool), np.zeros(self.num, bool)
        for copy in range(self.num) if active is None else np.flatnonzero(active).tolist():
            taken = int(actions[copy]) + spaces.first_action
            observation, rewards[copy], terminated[copy], truncated[copy], _ = self._environments[copy].step(taken)
            observations[copy] = spaces.seen(observation)
        return Transitions(observations, rewards, terminated, truncated, real)

    def close(self) -> None:
        """Closes the environments."""
        for environment in self._environments:
            environment.close()


class Vector:
    """A vector environment, in each of Gymnasium's ways to begin new episodes."""

    can_wait = False

    def __init__(self, environment: Any, spaces: Spaces):
        from gymnasium.vector import AutoresetMode

        self._environment, self.spaces, self.num = environment, spaces, environment.num_envs
        # What doesn't say how it begins new episodes keeps to Gymnasium's default.
        mode = environment.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._same_step, self._next_step = mode == AutoresetMode.SAME_STEP, mode == AutoresetMode.NEXT_STEP
        self._begins = np.zeros(self.num, bool)  # In the coming step, by itself.

    def begin_all(self, seeds: list[int]) -> np.ndarray:
        """Begins new episodes in all copies and gives the first observations."""
        self._begins = np.zeros(self.num, bool)
        return self.spaces.seen(self._environment.reset(seed=list(seeds))[0]).copy()

    def begin(self, observations: np.ndarray, copies: np.ndarray, seeds: list[int]) -> np.ndarray:
        """Begins new episodes in these copies and gives the observations from which all go on.

        What begins by itself takes no seeds.
        """
        if self._same_step:
            return self._after_reset
        if self._next_step:
            return observations
        every: list[int | None] = [None] * self.num
        mask = np.zeros(self.num, bool)
        mask[copies] = True
        for copy, seed in zip(copies, seeds, strict=True):
            every[copy] = seed
        seen = self.spaces.seen(self._environment.reset(seed=every, options={"reset_mask": mask})[0])
        return np.where(mask.reshape(-1, *[1] * len(self.spaces.shape)), seen, observations)

    def step(self, actions: np.ndarray, before: np.ndarray, active: np.ndarray | None = None) -> Transitions:
        """Takes one action in every copy. Where an episode ends, `begin` must follow."""
        observations, rewards, terminated, truncated, info = self._environment.step(actions + self.spaces.first_action)
        seen = self.spaces.seen(observations).copy()
        real, ended = ~self._begins, terminated | truncated
        if self._same_step and ended.any():
            self._after_reset = seen.copy()
            for copy in np.flatnonzero(ended):
                seen[copy] = self.spaces.seen(info["final_obs"][copy])
        self._begins = ended if self._next_step else self._begins
        return Transitions(seen, np.asarray(rewards, "float64"), terminated, truncated, real)

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()


def open_worlds(
    name: str, environment: Any, num: int, sample_shape: tuple[int, ...], num_actions: int, frame_stack: int = 1
) -> Copies | Vector:
    """Gives `environment`, called `name` in the errors, ready for an agent.

    Of the name of a registered environment `num` copies are made. The network takes samples of `sample_shape`, made of
    the last `frame_stack` frames.
    """
    import gymnasium

    if isinstance(environment, str):
        made = [_make(name, environment) for _ in range(num)]
        environment = made[0]
    elif isinstance(environment, (gymnasium.Env, gymnasium.vector.VectorEnv)):
        made = [environment]
    else:
        raise TypeError(
            f"`{name}` must be a Gymnasium environment, a vector environment or a name such as 'CartPole-v1', got "
            f"{type(environment).__name__}."
        )
    vector = isinstance(environment, gymnasium.vector.VectorEnv)
    prefix = "single_" if vector else ""
    spaces = getattr(environment, f"{prefix}observation_space"), getattr(environment, f"{prefix}action_space")
    _check_kinds(name, *spaces)
    seen = Spaces(*spaces, sample_shape)
    _check_fit(name, seen, sample_shape, num_actions, frame_stack)
    return Vector(environment, seen) if vector else Copies(made, seen)


def _make(name: str, environment: str) -> Any:
    import gymnasium

    import kphys.environments  # noqa: F401 - registers the house's own.

    try:
        return gymnasium.make(environment)
    except gymnasium.error.UnregisteredEnv as error:
        raise ValueError(
            f"`{name}` must be the name of a registered environment, got {environment!r}: {error} "
            "gymnasium.pprint_registry() lists them; Atari's need `pip install kphys[atari]` and "
            "gymnasium.register_envs(ale_py)."
        ) from error


def _check_kinds(name: str, observation_space: Any, action_space: Any) -> None:
    from gymnasium.spaces import Box, Discrete

    if not isinstance(action_space, Discrete):
        raise ValueError(
            f"`{name}` must have discrete actions, got {action_space}: an agent here chooses one of a few actions. "
            "Offer some of them in a gymnasium.ActionWrapper."
        )
    if not isinstance(observation_space, (Box, Discrete)):
        raise ValueError(
            f"`{name}` must show arrays or discrete states, got {observation_space}: wrap it in "
            "gymnasium.wrappers.FlattenObservation."
        )


def _check_fit(name: str, seen: Spaces, sample_shape: tuple[int, ...], num_actions: int, frame_stack: int) -> None:
    if seen.num_actions != num_actions:
        raise ValueError(f"`{name}` has {seen.num_actions} actions, and this agent was built for {num_actions}.")
    stacked = (*seen.shape[:-1], seen.shape[-1] * frame_stack) if seen.shape else ()
    if stacked != sample_shape:
        frames = f", {stacked} as stacks of {frame_stack} frames" if frame_stack > 1 else ""
        raise ValueError(
            f"`{name}` shows observations of shape {seen.shape}{frames}, and this agent was built for {sample_shape}: "
            "build it with the `observation_shape` of the environment."
        )
    if len(sample_shape) == 3 and seen.dtype != np.uint8:
        raise ValueError(
            f"`{name}` shows images of dtype {seen.dtype}, and networks for images take uint8, 0 to 255, which they "
            "scale themselves: show them as uint8, in a gymnasium.ObservationWrapper."
        )
