"""Treasure maps: the rules cell by cell, the model against the world, and value iteration's policy played."""

import gymnasium
import numpy as np
import pytest
from scipy import ndimage
from world_checks import check_world, episode_return, play

from kphys.agents.tabular import value_iteration
from kphys.environments import TreasureMap

UP, RIGHT, DOWN, LEFT = range(4)
STEP_COST = 0.01


@pytest.mark.parametrize("layout", ["small", "rooms", "random"])
def test_gymnasiums_checks(layout):
    check_world("kphys/TreasureMap-v0", layout=layout)


def test_walls_and_edges_stop_the_agent():
    environment = TreasureMap(layout=["S#.", "..T"])
    positions = [step[4]["position"] for step in play(environment, [UP, LEFT, RIGHT, DOWN, DOWN, RIGHT, UP, RIGHT])]
    assert positions == [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (1, 1), (1, 1), (1, 2)]


def test_the_channels_are_walls_treasures_and_agent():
    environment = TreasureMap(layout=["S#T", "..T"])
    observation, _ = environment.reset(seed=0)
    walls, treasures, agent = np.moveaxis(observation, -1, 0)
    np.testing.assert_array_equal(walls, [[0, 255, 0], [0, 0, 0]])
    np.testing.assert_array_equal(treasures, [[0, 0, 255], [0, 0, 255]])
    np.testing.assert_array_equal(agent, [[255, 0, 0], [0, 0, 0]])
    for action in (DOWN, RIGHT, RIGHT):
        observation = environment.step(action)[0]
    np.testing.assert_array_equal(observation[..., 1], [[0, 0, 255], [0, 0, 0]])
    np.testing.assert_array_equal(observation[..., 2], [[0, 0, 0], [0, 0, 255]])


def test_each_treasure_counts_once_and_the_last_one_ends_the_game():
    environment = TreasureMap(layout=["TST"], step_cost=0.25)
    steps = play(environment, [LEFT, RIGHT, LEFT, RIGHT, RIGHT])
    assert [step[1] for step in steps[1:]] == [0.75, -0.25, -0.25, -0.25, 0.75]
    assert [step[2] for step in steps] == 5 * [False] + [True]
    assert [step[4]["treasures_left"] for step in steps] == [2, 1, 1, 1, 1, 0]


def test_the_time_limit_truncates_and_does_not_terminate():
    for limit, settings in ((200, {}), (7, {"max_episode_steps": 7})):
        steps = play(gymnasium.make("kphys/TreasureMap-v0", **settings), [UP] * 300)
        assert len(steps) == limit + 1
        assert steps[-1][2:4] == (False, True)


def policy_return(environment, model, policy, seed, discount=1.0):
    """The return of a policy of the model's states, played in the world: states are found by what is seen."""
    states = {observation.tobytes(): state for state, observation in enumerate(model.observations)}
    observation, _ = environment.reset(seed=seed)
    total, weight, ended, first = 0.0, 1.0, False, states[observation.tobytes()]
    while not ended:
        observation, reward, ended, _, _ = environment.step(policy[states[observation.tobytes()]])
        total, weight = total + weight * reward, weight * discount
    return total, first


@pytest.mark.parametrize(("layout", "steps", "treasures"), [("small", 14, 2), ("rooms", 30, 3)])
def test_value_iterations_policy_gives_the_return_it_foretells(layout, steps, treasures):
    environment = TreasureMap(layout=layout)
    model = environment.model()
    values, policy = value_iteration(model.P, model.R, 0.97)
    discounted, start = policy_return(environment, model, policy, seed=0, discount=0.97)
    assert discounted == pytest.approx(values[start], abs=1e-6)
    assert model.starts[start] == 1
    # The optimum of the docstring, to which a discount near 1 leads.
    _, policy = value_iteration(model.P, model.R, 0.999)
    assert policy_return(environment, model, policy, seed=0)[0] == pytest.approx(treasures - STEP_COST * steps)
    assert shortest(model) == steps


def shortest(model):
    """The fewest steps from a start to an end, by breadth-first search."""
    reached, steps = model.starts > 0, 0
    ends = model.P.sum(axis=(1, 2)) == 0
    while not (reached & ends).any():
        reached, steps = reached | (reached @ model.P.sum(axis=1) > 0), steps + 1
    return steps


@pytest.mark.parametrize("layout", [["....", ".#T.", "...."], ["S.S", "##.", "T.."]])
def test_several_starts_are_each_as_likely(layout):
    environment = TreasureMap(layout=layout)
    model = environment.model()
    values, policy = value_iteration(model.P, model.R, 0.9)
    seen = set()
    for seed in range(150):
        total, start = policy_return(environment, model, policy, seed, discount=0.9)
        assert total == pytest.approx(values[start], abs=1e-6)
        seen.add(start)
    starts = sum(row.count("S") for row in layout) or 10
    assert seen == set(np.flatnonzero(model.starts)) == set(range(starts))
    np.testing.assert_allclose(model.starts[:starts], 1 / starts)


def test_the_model_is_the_world_step_by_step():
    environment = TreasureMap(layout=["S.T", ".#.", "T.."])
    model = environment.model()
    states = {observation.tobytes(): state for state, observation in enumerate(model.observations)}
    assert len(states) == len(model.P)  # No two states look alike.
    generator = np.random.default_rng(0)
    tried, ended, here = set(), True, 0
    for _ in range(3000):
        if ended:
            here = states[environment.reset(seed=0)[0].tobytes()]
            assert model.starts[here] == 1
        action = int(generator.integers(4))
        observation, reward, ended, _, _ = environment.step(action)
        there = states[observation.tobytes()]
        assert model.P[here, action, there] == 1
        assert model.R[here, action, there] == pytest.approx(reward)
        assert ended == (model.P[there].sum() == 0)
        tried.add((here, action))
        here = there
    assert len(tried) == (model.P.sum(axis=2) == 1).sum()  # Everything was seen.
    assert set(np.unique(model.P.sum(axis=2))) == {0, 1}


def test_random_maps_can_be_solved_and_differ():
    environment = TreasureMap(layout="random", size=(6, 7), num_treasures=2, wall_share=0.4)
    looks = set()
    for seed in range(30):
        observation, _ = environment.reset(seed=seed)
        assert observation.shape == (6, 7, 3)
        assert (observation[..., 1] > 0).sum() == 2
        assert (observation[..., 2] > 0).sum() == 1
        assert ((observation > 0).sum(axis=2) <= 1).all()  # Nothing stands on anything.
        model = environment.model()
        values, policy = value_iteration(model.P, model.R, 0.97)
        total, start = policy_return(environment, model, policy, seed, discount=0.97)
        assert total == pytest.approx(values[start], abs=1e-6)
        looks.add(observation.tobytes())
    assert len(looks) == 30


def test_random_walls_have_their_share():
    environment = TreasureMap(layout="random", size=(20, 20), num_treasures=1, wall_share=0.3)
    environment.reset(seed=0)
    share = np.mean([environment.reset()[0][..., 0] / 255 for _ in range(25)])
    assert share == pytest.approx(0.3, abs=5 * np.sqrt(0.3 * 0.7 / 10_000))
    open_map = TreasureMap(layout="random", wall_share=0.0)
    assert not open_map.reset(seed=0)[0][..., 0].any()


def test_random_maps_are_played_in_their_largest_part():
    environment = TreasureMap(layout="random", size=(7, 7), num_treasures=1, wall_share=0.49)
    sizes = []
    for seed in range(30):
        walls, treasures, agent = np.moveaxis(environment.reset(seed=seed)[0], -1, 0) > 0
        parts, count = ndimage.label(~walls)
        sizes.append([(parts == part).sum() for part in range(1, count + 1)])
        here = parts[agent].item()
        assert parts[treasures].item() == here
        assert sizes[-1][here - 1] == max(sizes[-1])
    assert any(len(part) > 3 for part in sizes)


def test_a_full_map_is_drawn():
    environment = TreasureMap(layout="random", size=(2, 2), num_treasures=3, wall_share=0.0)
    observation, _ = environment.reset(seed=0)
    assert (observation[..., 1] > 0).sum() == 3


def test_text_and_picture_show_the_map():
    environment = TreasureMap(layout=["S#T", "..T"], render_mode="ansi")
    play(environment, [DOWN])
    assert environment.render() == ".#T\nA.T\n"
    environment = TreasureMap(layout=["S#T", "..T"], render_mode="rgb_array")
    play(environment, [DOWN])
    picture = environment.render()
    assert picture.shape == (40, 60, 3)
    centres = picture[10::20, 10::20].astype(int)
    red, blue = centres[..., 0], centres[..., 2]
    assert np.argwhere(red - blue > 50).tolist() == [[0, 2], [1, 2]]  # Gold.
    assert np.argwhere(blue - red > 50).tolist() == [[1, 0]]
    assert np.argwhere(centres.sum(axis=2) < 240).tolist() == [[0, 1]]


def test_the_return_of_a_walk_by_hand():
    assert episode_return(TreasureMap(layout=["S.T"]), [RIGHT, RIGHT]) == pytest.approx(1 - 2 * STEP_COST)
    assert episode_return(TreasureMap(layout=["S.T"], step_cost=0.0), [LEFT, RIGHT, RIGHT]) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"layout": "smal"}, ValueError, "`layout` must be one of 'small', 'rooms', 'random', .* mean 'small'"),
        ({"layout": 3}, TypeError, "`layout` must be a name or a list of strings"),
        ({"layout": [["S", "T"]]}, TypeError, "`layout` must be a name or a list of strings"),
        ({"layout": []}, ValueError, "`layout` must hold strings of one length"),
        ({"layout": ["", ""]}, ValueError, "`layout` must hold strings of one length"),
        ({"layout": ["S.", "T"]}, ValueError, r"`layout` must hold strings of one length, got the lengths \[2, 1\]"),
        ({"layout": ["SxT"]}, ValueError, r"`layout` may hold .* got \['x'\]"),
        ({"layout": ["S.."]}, ValueError, "`layout` has no treasure 'T'"),
        ({"layout": ["#T#"]}, ValueError, "`layout` has no start 'S' nor floor"),
        (
            {"layout": ["S#T"]},
            ValueError,
            r"at \(row, column\) \(0, 2\) that cannot be reached from \(0, 0\)",
        ),
        ({"layout": [".#T."]}, ValueError, r"cannot be reached from \(0, 0\): open a wall, or mark"),
        ({"step_cost": -0.1}, ValueError, "`step_cost` must be a number that is not negative, got -0.1"),
        ({"step_cost": float("nan")}, ValueError, "`step_cost` must be"),
        ({"size": (5, 5)}, ValueError, r"`size` must be None with a fixed layout, got \(5, 5\)"),
        ({"num_treasures": 1}, ValueError, "`num_treasures` must be None with a fixed layout"),
        ({"wall_share": 0.0}, ValueError, "`wall_share` must be None with a fixed layout"),
        ({"layout": "random", "size": 5}, ValueError, r"`size` must be height and width such as \(8, 8\), got \(5,\)"),
        ({"layout": "random", "size": (0, 5)}, ValueError, r"`size\[0\]` must be a positive integer, got 0"),
        ({"layout": "random", "num_treasures": 64}, ValueError, "leave a cell to start in, got 64 on 64 cells"),
        ({"layout": "random", "wall_share": 0.5}, ValueError, "`wall_share` must be .* below 0.5, got 0.5"),
    ],
)
def test_bad_arguments_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        TreasureMap(**settings)


def test_floor_behind_walls_does_no_harm_where_the_start_is_marked():
    assert len(TreasureMap(layout=["S.T#."]).model().P) == 3


def test_a_map_without_room_is_refused_when_it_is_drawn():
    environment = TreasureMap(layout="random", size=(8, 8), num_treasures=63, wall_share=0.4)
    with pytest.raises(ValueError, match="leaves no room for 63 treasures"):
        environment.reset(seed=0)


def test_models_that_do_not_exist_are_refused():
    with pytest.raises(gymnasium.error.ResetNeeded, match="A random map is drawn by `reset`"):
        TreasureMap(layout="random").model()
    with pytest.raises(ValueError, match="more than 2000 states"):
        TreasureMap(layout=["S" + 12 * "T", 13 * "."]).model()
