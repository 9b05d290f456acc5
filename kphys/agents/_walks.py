"""Walks through a world in tables: how they begin, what follows a step, how long and how fast is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kphys import _arguments
from kphys.agents import _mdp

_DRAWS_AT_ONCE = 65_536


class Learning(NamedTuple):
    """How a table learns, checked. The k-th rate is rate / (1 + decay k), k counting visits or steps."""

    discount: float
    num_steps: int
    rate: float
    decay: float
    by_visits: bool
    episode_steps: int


def outcomes(P: np.ndarray, R: np.ndarray, num_states: int) -> tuple[list[float], list[int], list[float]]:
    """Gives what can follow: cumulative probabilities, states and rewards. Lists: single look-ups are faster."""
    (found,) = np.nonzero(P)
    cumulative = P[found].cumsum()
    # Exactly 1 at the end, so that every draw below 1 falls on an outcome.
    return (cumulative / cumulative[-1:]).tolist(), (found % num_states).tolist(), R[found].tolist()


def draws(numbers: int, starts: np.ndarray, num_steps: int, seed: Any) -> Iterator[tuple]:
    """Gives for every step numbers from 0 to 1 and a state to start in, drawn in bulk."""
    generator = np.random.default_rng(_arguments.seed("seed", seed))
    for done in range(0, num_steps, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, num_steps - done)
        chances = generator.random((numbers, count)).tolist()
        yield from zip(*chances, generator.choice(len(starts), count, p=starts).tolist(), strict=True)


def learning(
    discount: Any, num_steps: Any, learning_rate: Any, decay: Any, decay_by: Any, episode_steps: Any
) -> Learning:
    """Gives the settings, checked."""
    rate = _arguments.real("learning_rate", learning_rate, positive=True)
    if rate > 1:
        raise ValueError(f"`learning_rate` must be at most 1, got {rate:g}: beyond it the values overshoot.")
    return Learning(
        _mdp.discounted(discount),
        _arguments.integer("num_steps", num_steps),
        rate,
        _arguments.real("decay", decay, minimum=0),
        _arguments.choice("decay_by", decay_by, ("visits", "steps")) == "visits",
        # Counted down to 0, which -1 never meets.
        -1 if episode_steps is None else _arguments.integer("episode_steps", episode_steps),
    )


def start_probabilities(start: Any, world: _mdp.Process) -> np.ndarray:
    """Gives the probability of each state to begin in, `(states,)`."""
    if world.terminal.all():
        raise ValueError("`P` has no state with a possible action, so that there is nothing to learn from.")
    if start is None:
        return ~world.terminal / (~world.terminal).sum()
    if np.ndim(start) == 0:
        state = _arguments.integer("start", start, minimum=0)
        if state >= len(world.P):
            raise ValueError(f"`start` must be a state from 0 to {len(world.P) - 1}, got {state}.")
        starts = np.eye(len(world.P))[state]
    else:
        starts = _mdp.numbers("start", start)
        if starts.shape != (len(world.P),):
            raise ValueError(f"`start` must have the shape ({len(world.P)},), got {starts.shape}.")
        starts = _mdp.probabilities("start", starts)
    if starts[world.terminal].any():
        state = int(np.flatnonzero(world.terminal & (starts > 0))[0])
        raise ValueError(f"`start` must not hold terminal states, got state {state}, which has no possible action.")
    return starts


def action_probabilities(policy: Any, world: _mdp.Process) -> np.ndarray:
    """Gives the probabilities of the actions, `(states, actions)`, 0 in terminal states."""
    shape = world.possible.shape
    kind = np.asarray(policy).dtype
    values = _mdp.numbers("policy", policy)
    if values.shape == shape[:1] and kind.kind in "iu":
        values = (values[:, None] == np.arange(shape[1])).astype(float)
        if not values[~world.terminal].any(axis=1).all():
            raise ValueError(f"`policy` must hold actions from 0 to {shape[1] - 1}, got {np.asarray(policy).tolist()}.")
    if values.shape != shape:
        raise ValueError(
            f"`policy` must hold one integer a state, ({shape[0]},), or probabilities of the actions, {shape}, "
            f"got the shape {values.shape} of kind {kind}."
        )
    values = np.where(world.terminal[:, None], 0, values)
    values = _mdp.probabilities("policy", values, impossible=True)
    if not values[~world.terminal].any(axis=1).all():
        state = int(np.flatnonzero(~world.terminal & ~values.any(axis=1))[0])
        raise ValueError(f"`policy` must sum to 1 over the actions, got the sum 0 in state {state}.")
    if values[~world.possible].any():
        state, action = (int(index) for index in np.argwhere((values > 0) & ~world.possible)[0])
        raise ValueError(f"`policy` takes action {action} in state {state}, which is not possible there: see P.")
    return values
