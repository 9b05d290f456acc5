"""A control task of quantum physics: turn a chain of coupled spins with few global pulses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from kphys import _arguments
from kphys.environments import _drawing
from kphys.environments._world import World

_PAULI = {"x": np.array([[0, 1], [1, 0]]), "y": np.array([[0, -1j], [1j, 0]]), "z": np.diag([1, -1])}
_PULSES = ("none", "+x", "-x", "+y", "-y")
_ROUNDING = 1e-9  # A fidelity of 1 may come out below 1.
_AMPLITUDES_AT_MOST = 2**24  # Of all states that `best_pulses` holds at once: a quarter of a gigabyte.


class SpinChain(World):
    """Bring N coupled spins from all-down to a target state, by choosing among five global pulses.

    In every step the state evolves for a time τ as ψ ← e^(−iHτ) ψ (ħ = 1, open chain) with

        H = J Σ Z_i Z_{i+1} + h Σ Z_i  and one of  0, ±(Ω/2) Σ X_i, ±(Ω/2) Σ Y_i  added.

    A pulse alone would turn every spin by Ωτ; the coupling, always on, turns inner spins otherwise than those at the
    ends. What counts is the fidelity F = |⟨target|ψ⟩|².

    Actions: 0 is free evolution, 1 the pulse +x, 2 −x, 3 +y, 4 −y.

    Observations: The real parts of ψ, then the imaginary ones, from −1 to 1, `(2·2^N,)`. The first spin is the
    slowest index, up comes before down: ψ[0] is all-up, ψ[−1] all-down.

    Reward: With `reward="gain"` what F gained in the step, so that the return is the last F, less that of all-down
    (0 for "up", ½ for "ghz"). With "final" F in the last step and otherwise 0.

    End: When F reaches `threshold`, or after `max_pulses` (terminated: the game's length is the task). `info` holds
    the `fidelity`.

    Optimum: By enumeration of all sequences, see `best_pulses`: 0.99778 by default, by the five pulses +x −y 0 −y +x.
    One pulse over and over, or what gains most in each step, never gets beyond 0.741; random choice gives 0.21 in the
    mean, and 624 of the 390,625 sequences of eight pulses come within 2 % of the optimum. "ghz" reaches 0.967.

    Args:
        num_spins: N, from 1 to 6.
        target: "up", all spins up; "ghz", (|up … up⟩ + |down … down⟩)/√2; or the 2^N complex amplitudes of a state of
            norm 1, in the order above.
        max_pulses: Pulses in an episode.
        coupling: J.
        field: h.
        drive: Ω, positive.
        pulse_time: τ, positive.
        threshold: The fidelity that suffices, above that of all-down and at most 1.
        reward: "gain" or "final".
        render_mode: "rgb_array" draws ⟨Z_i⟩ over time (blue down, red up) above the pulses (arrows: ±x right and left,
            ±y up and down) and the fidelity; "ansi" writes pulses and fidelity; `None` does neither.

    Raises:
        ValueError, TypeError: An argument that the above does not allow; its message says the mend.

    Reference:
        Bukov, Day, Sels, Weinberg, Polkovnikov and Mehta, 2018, "Reinforcement learning in different phases of quantum
        control"; Greenberger, Horne and Zeilinger, 1989, "Going beyond Bell's theorem".

    Example:
        >>> import gymnasium
        >>> import kphys.environments
        >>> chain = gymnasium.make("kphys/SpinChain-v0", num_spins=2, max_pulses=4)
        >>> observation, info = chain.reset(seed=0)
        >>> best, pulses = chain.unwrapped.best_pulses()
        >>> rewards = [chain.step(pulse)[1] for pulse in pulses]
        >>> abs(sum(rewards) - best) < 1e-12
        True
    """

    def __init__(
        self,
        *,
        num_spins: int = 3,
        target: str | Sequence[complex] | np.ndarray = "up",
        max_pulses: int = 8,
        coupling: float = 1.0,
        field: float = 0.0,
        drive: float = 6.0,
        pulse_time: float = 0.3,
        threshold: float = 0.99,
        reward: str = "gain",
        render_mode: str | None = None,
    ):
        self.num_spins = _arguments.integer("num_spins", num_spins)
        if num_spins > 6:
            raise ValueError(f"`num_spins` must be at most 6, got {num_spins}: the matrices have 4**num_spins entries.")
        self.max_pulses = _arguments.integer("max_pulses", max_pulses)
        self.reward = _arguments.choice("reward", reward, ("gain", "final"))
        self.evolutions = _evolutions(
            self.num_spins,
            _arguments.real("coupling", coupling),
            _arguments.real("field", field),
            _arguments.real("drive", drive, positive=True),
            _arguments.real("pulse_time", pulse_time, positive=True),
        )
        self.target = _target_state(target, self.num_spins)
        self._start = np.zeros(2**self.num_spins, complex)
        self._start[-1] = 1
        self.threshold = self._checked_threshold(threshold)
        super().__init__(5, gymnasium.spaces.Box(-1, 1, (2 * len(self._start),), np.float32), render_mode)

    def best_pulses(self) -> tuple[float, tuple[int, ...]]:
        """Gives the largest return of all sequences of pulses, and the shortest, then first sequence that has it.

        All are tried: 5^`max_pulses`, one and a half second for 10 pulses on three spins.

        Raises:
            ValueError: There are too many of them to hold.
        """
        amplitudes = 5 ** (self.max_pulses - 1) * len(self._start)
        if amplitudes > _AMPLITUDES_AT_MOST:
            raise ValueError(
                f"`max_pulses` is {self.max_pulses} on {self.num_spins} spins, which makes {amplitudes:.1e} amplitudes "
                f"to hold, and {_AMPLITUDES_AT_MOST:.1e} is the most: make the chain with fewer pulses."
            )
        states, sequences = self._start[None], np.zeros((1, 0), "int8")  # (sequences, 2^N), (sequences, pulses)
        best, best_sequence = -math.inf, ()
        for length in range(1, self.max_pulses + 1):
            # Only the overlap is needed: of the last states, which are the most, none is made.
            fidelities = np.abs(states @ (self.target.conj() @ self.evolutions).T) ** 2  # (sequences, 5)
            ended = (fidelities >= self.threshold - _ROUNDING) | (length == self.max_pulses)
            largest = np.where(ended, fidelities, -1).max()
            if ended.any() and largest > best + _ROUNDING:
                # Of equally good sequences the first: rounding does not choose.
                index, pulse = np.argwhere(ended & (fidelities >= largest - _ROUNDING))[0]
                best, best_sequence = largest, (*sequences[index].tolist(), int(pulse))
            if length == self.max_pulses:
                break
            index, pulses = np.nonzero(~ended)
            sequences = np.column_stack([sequences[index], pulses.astype("int8")])
            states = np.einsum("aij,sj->sai", self.evolutions, states, optimize=True)[index, pulses]
        start = self._fidelity(self._start) if self.reward == "gain" else 0.0
        return float(best) - start, best_sequence

    def _checked_threshold(self, threshold: Any) -> float:
        threshold = _arguments.real("threshold", threshold)
        fidelity = self._fidelity(self._start)
        if not fidelity + _ROUNDING < threshold <= 1:
            raise ValueError(
                f"`threshold` must be above the fidelity of all-down, here {fidelity:.4g}, and at most 1, "
                f"got {threshold:g}."
            )
        return threshold

    def _fidelity(self, state: np.ndarray) -> float:
        return float(np.abs(np.vdot(self.target, state)) ** 2)

    def _begin(self) -> None:
        self._pulses: list[int] = []
        self._states, self._fidelities = [self._start], [self._fidelity(self._start)]

    def _advance(self, action: int) -> tuple[float, bool]:
        state = self.evolutions[action] @ self._states[-1]
        before, fidelity = self._fidelities[-1], self._fidelity(state)
        self._pulses.append(action)
        self._states.append(state)
        self._fidelities.append(fidelity)
        ended = fidelity >= self.threshold - _ROUNDING or len(self._pulses) == self.max_pulses
        if self.reward == "gain":
            return fidelity - before, ended
        return fidelity if ended else 0.0, ended

    def _observation(self) -> np.ndarray:
        # In single precision no rounding error of the norm is left that would go beyond 1.
        return np.concatenate([self._states[-1].real, self._states[-1].imag], dtype="float32", casting="same_kind")

    def _info(self) -> dict[str, Any]:
        return {"fidelity": self._fidelities[-1]}

    def _image(self) -> np.ndarray:
        states = np.array(self._states)  # (times, 2^N)
        up = np.abs(states) ** 2 @ _is_up(self.num_spins)  # (times, N): probability to be up
        size, bars = _drawing.cell_size(self.max_pulses + 1), 3
        colours = _drawing.table(self.num_spins + 2 + bars, self.max_pulses + 1)
        colours[: self.num_spins, : len(states)] = _drawing.diverging(2 * up.T - 1)
        image = _drawing.enlarged(colours, size)
        for time, pulse in enumerate(self._pulses):
            _drawing.put_arrow(image, self.num_spins, time + 1, size, _PULSES[pulse])
        for time, fidelity in enumerate(self._fidelities):
            _drawing.put_bar(image, time, size, bars, fidelity)
        return image

    def _text(self) -> str:
        pulses = " ".join(_PULSES[pulse] for pulse in self._pulses)
        return f"pulses: {pulses or '-'}; fidelity {self._fidelities[-1]:.4f}\n"


def _is_up(num_spins: int) -> np.ndarray:
    """Gives for every basis state and spin 1 where it is up, 0 where it is down, `(2^N, N)`."""
    return 1 - ((np.arange(2**num_spins)[:, None] >> np.arange(num_spins)[::-1]) & 1)


def _evolutions(num_spins: int, coupling: float, field: float, drive: float, time: float) -> np.ndarray:
    """Gives e^(−iHτ) for the five pulses, `(5, 2^N, 2^N)`."""
    x, y, z = (np.array([_on_site(matrix, site, num_spins) for site in range(num_spins)]) for matrix in _PAULI.values())
    static = coupling * sum((z[:-1] @ z[1:]), np.zeros_like(z[0])) + field * z.sum(axis=0)
    pulses = [0 * static] + [sign * drive / 2 * pauli.sum(axis=0) for pauli in (x, y) for sign in (1, -1)]
    energies, vectors = np.linalg.eigh(static + np.array(pulses))
    return (vectors * np.exp(-1j * energies * time)[:, None, :]) @ vectors.conj().swapaxes(1, 2)


def _on_site(matrix: np.ndarray, site: int, num_spins: int) -> np.ndarray:
    return np.kron(np.kron(np.eye(2**site), matrix), np.eye(2 ** (num_spins - site - 1))).astype(complex)


def _target_state(target: Any, num_spins: int) -> np.ndarray:
    size = 2**num_spins
    named = {"up": np.eye(size)[0], "ghz": (np.eye(size)[0] + np.eye(size)[-1]) / math.sqrt(2)}
    if isinstance(target, str):
        return named[_arguments.choice("target", target, named, also=", or the amplitudes of a state")].astype(complex)
    try:
        state = np.asarray(target, complex)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`target` must be 'up', 'ghz' or the amplitudes of a state, got {target!r}.") from error
    if state.shape != (size,):
        raise ValueError(f"`target` must hold 2**{num_spins} = {size} amplitudes, got the shape {state.shape}.")
    norm = np.linalg.norm(state)
    if not abs(norm - 1) < 1e-6:
        raise ValueError(f"`target` must have the norm 1, got {norm:.6g}: divide by np.linalg.norm(target).")
    return state / norm
