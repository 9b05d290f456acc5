"""Spin chains against matrix exponentials, closed forms and the enumeration of all pulses."""

import itertools

import gymnasium
import numpy as np
import pytest
from scipy.linalg import expm
from world_checks import check_world, episode_return, play

from kphys.environments import SpinChain

X, Y, Z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])
FREE, PLUS_X, MINUS_X, PLUS_Y, MINUS_Y = range(5)


def hamiltonian(num_spins, coupling, field, along_x, along_y):
    """J Σ Z Z + h Σ Z + x Σ X + y Σ Y, each term a product over all sites."""
    total = np.zeros((2**num_spins, 2**num_spins), complex)

    def product(factors):
        result = np.eye(1)
        for site in range(num_spins):
            result = np.kron(result, factors.get(site, np.eye(2)))
        return result

    for site in range(num_spins):
        total += product({site: field * Z + along_x * X + along_y * Y})
        if site + 1 < num_spins:
            total += coupling * product({site: Z, site + 1: Z})
    return total


def state_of(observation):
    real, imaginary = observation.reshape(2, -1)
    return real + 1j * imaginary


@pytest.mark.parametrize("settings", [{}, {"num_spins": 1}, {"num_spins": 6, "target": "ghz", "reward": "final"}])
def test_gymnasiums_checks(settings):
    check_world("kphys/SpinChain-v0", **settings)


@pytest.mark.parametrize("num_spins", [1, 2, 3, 6])
def test_the_evolutions_are_the_matrix_exponentials_and_unitary(num_spins):
    chain = SpinChain(num_spins=num_spins, coupling=0.7, field=-0.4, drive=2.6, pulse_time=0.3)
    directions = [(0, 0), (1.3, 0), (-1.3, 0), (0, 1.3), (0, -1.3)]
    for evolution, direction in zip(chain.evolutions, directions, strict=True):
        expected = expm(-0.3j * hamiltonian(num_spins, 0.7, -0.4, *direction))
        np.testing.assert_allclose(evolution, expected, atol=1e-13)
        np.testing.assert_allclose(evolution @ evolution.conj().T, np.eye(2**num_spins), atol=1e-13)


@pytest.mark.parametrize("pulse", [PLUS_X, MINUS_X, PLUS_Y, MINUS_Y])
@pytest.mark.parametrize("num_spins", [1, 2])
def test_free_spins_turn_by_the_drive(pulse, num_spins):
    chain = SpinChain(num_spins=num_spins, coupling=0.0, drive=1.5, pulse_time=0.4, threshold=1.0)
    for count, step in enumerate(play(chain, [pulse] * 5)):
        angle = 1.5 * 0.4 * count
        assert step[4]["fidelity"] == pytest.approx(np.sin(angle / 2) ** (2 * num_spins), abs=1e-12)


def test_a_pulse_and_its_opposite_cancel_and_free_evolution_of_all_down_is_a_phase():
    chain = SpinChain(num_spins=2, coupling=0.0, drive=1.1)
    steps = play(chain, [PLUS_X, MINUS_X, PLUS_Y, MINUS_Y, FREE])
    for step in (steps[2], steps[4], steps[5]):
        np.testing.assert_allclose(step[0], steps[0][0], atol=1e-6)
    chain = SpinChain(num_spins=2, coupling=0.9, field=0.3, pulse_time=0.5)
    # The energy of all-down is J − 2h.
    state = state_of(play(chain, [FREE])[1][0])
    np.testing.assert_allclose(state, [0, 0, 0, np.exp(-0.5j * (0.9 - 2 * 0.3))], atol=1e-6)


def test_two_coupled_spins_have_the_fidelity_worked_out_by_hand():
    # In the basis up-up, (up-down + down-up)/√2, down-down, H is [[J, w, 0], [w, -J, w], [0, w, J]] with w = Ω/√2. The
    # odd (up-up − down-down)/√2 has the energy J; the even one and the middle make a two-level system of matrix element
    # √2 w = Ω: a = cos νt − i (J/ν) sin νt with ν² = J² + Ω².
    coupling, drive, time = 0.8, 2.3, 0.45
    chain = SpinChain(num_spins=2, coupling=coupling, drive=drive, pulse_time=time, threshold=1.0)
    nu = np.hypot(coupling, drive)
    for count, step in enumerate(play(chain, [PLUS_X] * 6)):
        t = count * time
        even = np.cos(nu * t) - 1j * coupling / nu * np.sin(nu * t)
        assert step[4]["fidelity"] == pytest.approx(abs(even - np.exp(-1j * coupling * t)) ** 2 / 4, abs=1e-12)


def test_the_observation_is_the_state_in_the_order_that_the_docstring_gives():
    chain = SpinChain(num_spins=3)
    observation, info = chain.reset(seed=0)
    assert observation.dtype == np.float32
    np.testing.assert_array_equal(observation, np.eye(16)[7])
    assert info == {"fidelity": 0.0}
    pulses = [PLUS_X, FREE, MINUS_Y, PLUS_X]
    state = np.eye(8)[7]
    for pulse, step in zip(pulses, play(chain, pulses)[1:], strict=True):
        state = chain.evolutions[pulse] @ state
        np.testing.assert_allclose(state_of(step[0]), state, atol=1e-7)
        assert step[4]["fidelity"] == pytest.approx(abs(state[0]) ** 2)


def test_the_first_spin_is_the_slowest_index():
    # Up, down, down is index 3 (binary 011), which nothing but that target has.
    chain = SpinChain(num_spins=3, target=np.eye(8)[3])
    assert chain.target[3] == 1
    mirrored = SpinChain(num_spins=3, target=np.eye(8)[6])
    pulses = [PLUS_X, FREE, PLUS_Y]
    # The chain is its own mirror image.
    assert episode_return(chain, pulses) == pytest.approx(episode_return(mirrored, pulses))
    assert episode_return(chain, pulses) != pytest.approx(episode_return(SpinChain(target=np.eye(8)[5]), pulses))


@pytest.mark.parametrize("target", ["up", "ghz"])
def test_the_return_is_the_fidelity_that_was_gained(target):
    generator = np.random.default_rng(0)
    gain, final = (SpinChain(target=target, reward=reward) for reward in ("gain", "final"))
    start = {"up": 0.0, "ghz": 0.5}[target]
    for pulses in generator.integers(5, size=(10, 8)).tolist():
        steps = play(gain, pulses)
        last = steps[-1][4]["fidelity"]
        assert sum(step[1] for step in steps) == pytest.approx(last - start)
        rewards = [step[1] for step in play(final, pulses)]
        assert rewards[:-1] == [0] * (len(rewards) - 1)
        assert rewards[-1] == pytest.approx(last)


def test_the_game_ends_at_the_threshold_or_after_the_last_pulse():
    best = [PLUS_X, MINUS_Y, FREE, MINUS_Y, PLUS_X]
    for actions, length in ((best, 5), ([FREE] * 9, 8)):
        steps = play(gymnasium.make("kphys/SpinChain-v0"), actions)
        assert len(steps) == length + 1
        assert [step[2] for step in steps] == [False] * length + [True]
        assert not any(step[3] for step in steps)
    exact = SpinChain(num_spins=2, coupling=0.0, drive=np.pi / 3, pulse_time=1.0, threshold=1.0)
    assert [step[2] for step in play(exact, [PLUS_Y] * 4)] == [False, False, False, True]  # Half a turn.
    assert exact.best_pulses()[1] == (PLUS_X,) * 3
    assert play(SpinChain(threshold=0.74), [PLUS_X, PLUS_X])[-1][2]
    assert not play(SpinChain(threshold=0.75), [PLUS_X, PLUS_X])[-1][2]


def test_the_optimum_of_the_docstring():
    best, pulses = SpinChain().best_pulses()
    assert best == pytest.approx(0.99778, abs=5e-6)
    assert pulses == (PLUS_X, MINUS_Y, FREE, MINUS_Y, PLUS_X)
    assert episode_return(SpinChain(), pulses) == pytest.approx(best)
    assert SpinChain(target="ghz").best_pulses()[0] + 0.5 == pytest.approx(0.967, abs=5e-4)


def test_the_optimum_is_that_of_two_halves_that_meet():
    # |⟨target| U_8 … U_1 |down⟩|: all fours from the start against all fours back from the target. Whoever needs fewer
    # pulses begins with free evolution, which leaves all-down as it is.
    chain = SpinChain()
    forward, backward = np.eye(8)[None, 7], chain.target[None]
    for _ in range(4):
        forward = np.concatenate([forward @ evolution.T for evolution in chain.evolutions])
        backward = np.concatenate([backward @ evolution.conj() for evolution in chain.evolutions])
    fidelities = np.abs(forward @ backward.conj().T) ** 2  # (5^4, 5^4)
    assert fidelities.max() == pytest.approx(chain.best_pulses()[0])


def test_the_default_is_neither_trivial_nor_hopeless():
    chain = SpinChain()
    states, last = np.eye(8)[None, 7], np.full(1, np.nan)
    for _ in range(8):  # Every sequence, each stopped at the threshold.
        states, last = np.concatenate([states @ evolution.T for evolution in chain.evolutions]), np.tile(last, 5)
        fidelities = np.abs(states[:, 0]) ** 2
        last = np.where(np.isnan(last) & (fidelities >= 0.99), fidelities, last)
    last = np.where(np.isnan(last), fidelities, last)
    assert last.mean() == pytest.approx(0.21, abs=0.005)
    assert (last >= 0.98 * last.max()).sum() == 624
    for pulse in range(5):
        assert max(step[4]["fidelity"] for step in play(chain, [pulse] * 8)) < 0.7415
    state = np.eye(8)[7]
    for _ in range(8):
        state = max((evolution @ state for evolution in chain.evolutions), key=lambda new: abs(new[0]))
        assert abs(state[0]) ** 2 < 0.7415


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"threshold": 0.3},
        {"threshold": 0.6},
        {"reward": "final"},
        {"target": "ghz", "threshold": 0.55},
        {"target": [0.6, 0.48j, 0.64, 0.0]},
    ],
)
def test_the_enumeration_is_that_of_playing_everything(settings):
    chain = SpinChain(num_spins=2, max_pulses=4, coupling=0.6, drive=2.0, field=0.2, **settings)
    returns = {pulses: episode_return(chain, pulses) for pulses in itertools.product(range(5), repeat=4)}
    best, pulses = chain.best_pulses()
    assert best == pytest.approx(max(returns.values()))
    assert episode_return(chain, pulses) == pytest.approx(best)


def test_given_targets_may_be_complex_and_are_normalized_exactly():
    target = np.array([0.6, 0.0, 0.0, 0.8j]) * (1 + 4e-7)
    chain = SpinChain(num_spins=2, target=target)
    assert np.linalg.norm(chain.target) == pytest.approx(1, abs=1e-15)
    assert chain.reset(seed=0)[1]["fidelity"] == pytest.approx(0.64)
    ghz = SpinChain(target="ghz")
    np.testing.assert_allclose(ghz.target, np.array([1, 0, 0, 0, 0, 0, 0, 1]) / np.sqrt(2))


def test_picture_and_text_show_the_course():
    chain = SpinChain(num_spins=2, coupling=0.0, drive=np.pi, pulse_time=1.0, max_pulses=3, render_mode="rgb_array")
    play(chain, [PLUS_X])  # From down to up in one pulse.
    picture = chain.render()
    assert picture.shape == (20 * (2 + 2 + 3), 20 * 4, 3)
    centres = picture[10::20, 10::20].astype(int)
    red, green, blue = np.moveaxis(centres, -1, 0)
    assert (blue - red > 50)[:2].tolist() == [[True, False, False, False]] * 2
    assert (red - blue > 50)[:2].tolist() == [[False, True, False, False]] * 2
    assert (green - red > 50)[4:].tolist() == [[False, True, False, False]] * 3
    assert centres[2, 1].sum() < 240  # The arrow.
    chain = SpinChain(num_spins=2, coupling=0.0, drive=np.pi / 2, pulse_time=1.0, render_mode="ansi")
    chain.reset(seed=0)
    assert chain.render() == "pulses: -; fidelity 0.0000\n"
    chain.step(MINUS_Y)
    chain.step(FREE)
    assert chain.render() == "pulses: -y none; fidelity 0.2500\n"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"num_spins": 0}, ValueError, "`num_spins` must be a positive integer, got 0"),
        ({"num_spins": 7}, ValueError, "`num_spins` must be at most 6, got 7"),
        ({"max_pulses": 0}, ValueError, "`max_pulses` must be a positive integer"),
        ({"coupling": float("nan")}, ValueError, "`coupling` must be a finite number, got nan"),
        ({"field": "strong"}, TypeError, "`field` must be a finite number"),
        ({"drive": 0.0}, ValueError, "`drive` must be a positive number, got 0.0"),
        ({"pulse_time": -1.0}, ValueError, "`pulse_time` must be a positive number"),
        ({"threshold": 0.0}, ValueError, "`threshold` must be above the fidelity of all-down, here 0, and at most 1"),
        ({"threshold": 1.01}, ValueError, "`threshold` must be .* got 1.01"),
        ({"target": "ghz", "threshold": 0.5}, ValueError, "above the fidelity of all-down, here 0.5"),
        ({"target": np.eye(8)[7]}, ValueError, "above the fidelity of all-down, here 1"),
        ({"target": "gzh"}, ValueError, "`target` must be one of 'up', 'ghz', or the amplitudes .* mean 'ghz'"),
        ({"target": np.ones(4) / 2}, ValueError, r"`target` must hold 2\*\*3 = 8 amplitudes, got the shape \(4,\)"),
        ({"target": np.ones(8)}, ValueError, r"`target` must have the norm 1, got 2.82843: divide by np.linalg.norm"),
        ({"target": np.full(8, np.nan)}, ValueError, "`target` must have the norm 1, got nan"),
        ({"target": None}, ValueError, "`target` must"),
        ({"reward": "fidelity"}, ValueError, "`reward` must be one of 'gain', 'final', got 'fidelity'"),
    ],
)
def test_bad_arguments_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SpinChain(**settings)


def test_an_enumeration_too_large_to_hold_is_refused():
    with pytest.raises(ValueError, match=r"`max_pulses` is 20 on 3 spins, which makes 1.5e\+14 amplitudes"):
        SpinChain(max_pulses=20).best_pulses()
