"""The memory of an agent that learns from old experience: transitions in arrays, drawn in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from kphys import _arguments
from kphys.agents import _replay_checks
from kphys.agents._sum_tree import SumTree
from kphys.agents._transitions import ARRAYS, RINGS, Transitions

__all__ = ["ReplayBuffer"]

# Added to |δ|, so that a transition learnt perfectly may still be drawn.
SMALLEST_PRIORITY = 1e-6


class ReplayBuffer:
    r"""Holds the latest transitions of one or several environments and draws batches from them.

    Every observation is stored once. A draw of the transition at time i gives the return
    $\sum_{k<m} \gamma^k r_{i+k}$, the observation $s_{i+m}$ and what its value counts, $\gamma^m$, with m = `n_step` or
    fewer where the episode ends before. It counts 0 where the episode terminated; where the episode was truncated, by a
    time limit for one, it counts as ever.

    Uniform draws give every complete transition the same chance. Prioritized ones draw i with
    $P(i) = p_i^\alpha / \sum_j p_j^\alpha$, where $p_i = |\delta_i| + 10^{-6}$ from the last `update_priorities` or,
    for a new transition, the largest so far; a batch of n takes one draw out of each n-th of the sum. Their bias is
    corrected by the weights $(N P(i))^{-\beta}$, N = `len(buffer)`, divided by the largest one of their batch.

    Args:
        capacity: Observations held, shared evenly (rounded down) among the environments; the oldest make way for new
            ones. An episode of T steps takes T + 1 of them.
        observation_shape: Shape of one observation or, with `frame_stack` above 1, of one frame: `(height, width)` or
            `(height, width, channels)`.
        dtype: What observations are stored and given as: "uint8" for images.
        num_environments: Number of environments that are added to, each with its own episodes.
        frame_stack: Frames that one drawn observation shows. Before an episode's start its first frame is repeated.
        n_step: Rewards that a draw sums up before the value of the observation then reached takes over.
        discount: γ, from 0 to 1.
        prioritized: `True` draws by priority.
        priority_exponent: α ≥ 0 of prioritized draws; 0 draws uniformly. `None`: 0.6.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Mnih et al., 2015, "Human-level control through deep reinforcement learning"; Schaul, Quan, Antonoglou and
        Silver, 2016, "Prioritized experience replay"; Pardo, Tavakoli, Levdik and Kormushev, 2018, "Time limits in
        reinforcement learning".

    Example:
        >>> import numpy as np
        >>> from kphys.agents.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(1000, (2,), n_step=2, discount=0.5)
        >>> path = np.arange(8.0).reshape(4, 2)
        >>> terminated, truncated = [False, False, True], [False, False, False]
        >>> buffer.extend(0, path[:-1], [0, 1, 0], [1.0, 2.0, 4.0], terminated, truncated, path[1:])
        >>> len(buffer)
        3
        >>> batches = buffer.sample(10, 32, np.random.default_rng(0))
        >>> batches["observations"].shape
        (10, 32, 2)
        >>> sorted(set(batches["rewards"].ravel().tolist()))
        [2.0, 4.0]
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: int | Sequence[int],
        dtype: DTypeLike = "float32",
        *,
        num_environments: int = 1,
        frame_stack: int = 1,
        n_step: int = 1,
        discount: float = 0.99,
        prioritized: bool = False,
        priority_exponent: float | None = None,
    ) -> None:
        self.num_environments = _arguments.integer("num_environments", num_environments)
        self.frame_stack = _arguments.integer("frame_stack", frame_stack)
        self.n_step = _arguments.integer("n_step", n_step)
        self.discount = _arguments.share("discount", discount)
        self.prioritized = _arguments.flag("prioritized", prioritized)
        self.priority_exponent = _replay_checks.priority_exponent(priority_exponent, self.prioritized)
        self.observation_shape = _replay_checks.observation_shape(observation_shape, self.frame_stack)
        self.dtype = _replay_checks.observation_dtype(dtype)
        ring = _replay_checks.ring_length(capacity, self.num_environments, self.n_step, self.frame_stack)
        self.capacity = ring * self.num_environments
        self._transitions = Transitions(
            ring,
            self.observation_shape,
            self.dtype,
            self.num_environments,
            self.frame_stack,
            self.n_step,
            self.discount,
        )
        self._tree = SumTree(self.capacity) if self.prioritized else None
        self._largest_priority = 1.0

    @property
    def _settings(self) -> tuple[str, ...]:
        names = ("capacity", "num_environments", "frame_stack", "n_step", "discount", "prioritized")
        return (*names, "priority_exponent") if self.prioritized else names

    def __len__(self) -> int:
        """Number of transitions that can be drawn."""
        return self._transitions.num_drawable

    @property
    def nbytes(self) -> int:
        """Bytes that the buffer takes when it is full."""
        tree = self._tree.nbytes if self._tree else 0
        return tree + sum(array.nbytes for array in self._transitions.arrays.values())

    def extend(
        self,
        environment: int,
        observations: ArrayLike,
        actions: ArrayLike,
        rewards: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        next_observations: ArrayLike,
    ) -> None:
        """Adds consecutive transitions of one environment, in the order of time.

        Args:
            environment: Which one, from 0.
            observations: `(n, *observation_shape)`, n ≥ 1. The first is where the last call ended, unless its episode
                ended there.
            actions: `(n,)`, integers.
            rewards: `(n,)`, finite.
            terminated: `(n,)`; `True` where the step led to a terminal state, whose value is 0.
            truncated: `(n,)`; `True` where the episode was broken off.
            next_observations: `(n, *observation_shape)`, where the steps led: at an end the last observation of the
                episode, not the first of the next one.

        Raises:
            ValueError, TypeError: An array of a wrong shape, a value that is not finite or that its array cannot hold,
                a first observation that does not follow. Nothing is stored then.
        """
        environment = _replay_checks.environment_number(environment, self.num_environments)
        arrays = (observations, actions, rewards, terminated, truncated, next_observations)
        self._changed(self._transitions.extend(environment, *arrays))

    def close(self, environment: int) -> None:
        """Says that the running episode of an environment was broken off where it stands: it counts as truncated.

        Without a running episode nothing happens.
        """
        self._changed(self._transitions.close(_replay_checks.environment_number(environment, self.num_environments)))

    def _changed(self, slots: np.ndarray) -> None:
        if self._tree:
            new = self._largest_priority**self.priority_exponent
            self._tree.update(slots, np.where(self._transitions.drawable[slots], new, 0))

    def sample(
        self,
        num_batches: int,
        batch_size: int,
        generator: np.random.Generator,
        importance_exponent: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Draws batches, with replacement.

        Args:
            num_batches: Number of batches, positive.
            batch_size: Transitions of one batch, positive.
            generator: Where all randomness comes from.
            importance_exponent: β from 0 (no correction) to 1 (all of it): required if prioritized, else not taken.

        Returns:
            Arrays that begin with `(num_batches, batch_size)`: `observations` and `next_observations`,
            `(height, width, channels · frame_stack)` each if frames are stacked, else of `observation_shape`; `actions`
            (int32); `rewards` and `discounts`; `weights`, which are 1 in uniform draws (all three float32); `indices`,
            which `update_priorities` takes back.

        Raises:
            ValueError, TypeError: Nothing can be drawn yet, or an argument is not as above.
        """
        num_batches = _arguments.integer("num_batches", num_batches)
        batch_size = _arguments.integer("batch_size", batch_size)
        if not isinstance(generator, np.random.Generator):
            raise TypeError(f"`generator` must be a numpy.random.Generator, got {generator!r}.")
        importance_exponent = _replay_checks.importance_exponent(importance_exponent, self.prioritized)
        if len(self) == 0:
            raise ValueError(
                f"The replay buffer holds no complete transition (n_step={self.n_step}) yet: extend it before sampling."
            )
        shape = (num_batches, batch_size)
        if self._tree:
            slots, weights = self._prioritized(shape, generator, importance_exponent)
        else:
            slots = self._uniform(num_batches * batch_size, generator)
            weights = np.ones(len(slots), np.float32)
        drawn = {**self._transitions.gather(slots), "weights": weights, "indices": slots}
        return {name: array.reshape(*shape, *array.shape[1:]) for name, array in drawn.items()}

    def _uniform(self, size: int, generator: np.random.Generator) -> np.ndarray:
        drawable = self._transitions.drawable
        span = int(self._transitions.filled.max()) * self.num_environments
        if len(self) < span // 4:
            return np.flatnonzero(drawable[:span])[generator.integers(len(self), size=size)]
        # Slots that cannot be drawn are drawn and thrown away: few, so that this is cheaper than a list of the others.
        found = np.zeros(0, np.int64)
        while len(found) < size:
            tries = generator.integers(span, size=int((size - len(found)) * span / len(self)) + 8)
            found = np.concatenate([found, tries[drawable[tries]]])
        return found[:size]

    def _prioritized(
        self, shape: tuple[int, int], generator: np.random.Generator, importance_exponent: float
    ) -> tuple[np.ndarray, np.ndarray]:
        strata = np.arange(shape[1]) + generator.random(shape)  # (num_batches, batch_size)
        slots = self._tree.find(strata * (self._tree.total / shape[1]))
        probabilities = self._tree.weights[slots] / self._tree.total
        # The largest weight is that of the smallest probability; N drops out of the ratio.
        weights = (probabilities.min(axis=1, keepdims=True) / probabilities) ** importance_exponent
        return slots.ravel(), weights.astype(np.float32).ravel()

    def update_priorities(self, indices: ArrayLike, td_errors: ArrayLike) -> None:
        """Sets the priorities of drawn transitions to |δ| + 10⁻⁶.

        Args:
            indices: `indices` of `sample`, or a part of them. Call this before the next `extend`, which may put
                other transitions in their places.
            td_errors: δ of each, of the same shape; of a transition drawn twice, the last one counts.

        Raises:
            ValueError, TypeError: Not prioritized, indices that are none, errors that are not finite or of another
                shape.
        """
        if not self._tree:
            raise ValueError("Nothing is prioritized here: pass prioritized=True to ReplayBuffer.")
        indices, errors = np.asarray(indices), np.asarray(td_errors, np.float64)
        known = indices.size > 0 and indices.dtype.kind in "iu"
        if not known or indices.min() < 0 or indices.max() >= self.capacity:
            raise ValueError(f"`indices` must be integers that `sample` gave, 0 to {self.capacity - 1}, got {indices}.")
        if errors.shape != indices.shape:
            raise ValueError(f"`td_errors` must have the shape of `indices`, {indices.shape}, got {errors.shape}.")
        if not np.isfinite(errors).all():
            number = np.count_nonzero(~np.isfinite(errors))
            raise ValueError(f"`td_errors` must be finite, but {number} of {errors.size} are not: training diverged.")
        priorities = np.abs(errors) + SMALLEST_PRIORITY
        self._largest_priority = max(self._largest_priority, float(priorities.max()))
        drawable = self._transitions.drawable[indices]
        self._tree.update(indices, np.where(drawable, priorities**self.priority_exponent, 0))

    def state(self, copy: bool = True) -> dict[str, np.ndarray]:
        """Gives all that `restore` takes to go on from here: arrays, of the slots in use only.

        Args:
            copy: `False` saves memory: views, which hold until the next `extend`.
        """
        in_use = int(self._transitions.filled.max()) * self.num_environments
        arrays = {name: array[:in_use] for name, array in self._transitions.arrays.items()}
        arrays |= {name: getattr(self._transitions, name) for name in RINGS}
        if self._tree:
            arrays |= {"priorities": self._tree.weights[:in_use], "largest_priority": np.array(self._largest_priority)}
        settings = {name: np.array(getattr(self, name)) for name in self._settings}
        return settings | {name: array.copy() if copy else array for name, array in arrays.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state` gave: the same generator then draws the same, and `extend` goes on as before.

        Raises:
            ValueError: The state of a buffer with other arguments, or not a state. Nothing is changed then.
        """
        for name in self._settings:
            if name in state and not np.array_equal(state[name], getattr(self, name)):
                raise ValueError(
                    f"`state` is that of a buffer with {name}={state[name]}, and this one has {getattr(self, name)}: "
                    f"build it with the same arguments."
                )
        _replay_checks.state(state, self.state(copy=False), (*ARRAYS, "priorities"))
        in_use = len(state["drawable"])
        for name, array in self._transitions.arrays.items():
            array[:in_use] = state[name]
        self._transitions.drawable[in_use:] = False
        self._transitions.num_drawable = int(np.count_nonzero(state["drawable"]))
        for name in RINGS:
            getattr(self._transitions, name)[:] = state[name]
        if self._tree:
            self._tree.fill(state["priorities"])
            self._largest_priority = float(state["largest_priority"])
