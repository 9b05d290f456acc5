"""What every one of the small worlds must stand."""

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env


def play(environment, actions, seed=0):
    """The observations, rewards and endings of a game, up to its end."""
    observation, info = environment.reset(seed=seed)
    steps = [(observation, 0.0, False, False, info)]
    for action in actions:
        steps.append(environment.step(action))
        if steps[-1][2] or steps[-1][3]:
            break
    return steps


def episode_return(environment, actions, seed=0):
    """The sum of the rewards of a game."""
    return sum(step[1] for step in play(environment, actions, seed))


def check_world(name, **settings):
    """Gymnasium's own checks, vector environments, pictures, and that the seed fixes the episode."""
    check_env(gymnasium.make(name, **settings).unwrapped)
    environment = gymnasium.make(name, **settings)
    actions = np.random.default_rng(1).integers(environment.action_space.n, size=300).tolist()
    first, again = (play(environment, actions, seed=5) for _ in range(2))
    assert len(first) == len(again)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]
    check_pictures(name, settings, actions)
    check_vectors(name, settings, actions)


def check_pictures(name, settings, actions):
    environment = gymnasium.make(name, render_mode="rgb_array", **settings)
    environment.reset(seed=5)
    first = environment.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0  # Films need even sides.
    assert max(first.shape) <= 700
    changed = False
    for action in actions:
        ended = environment.step(action)[2:4]
        picture = environment.render()
        assert picture.shape == first.shape
        changed = changed or (picture != first).any()
        if any(ended):
            break
    assert changed
    text = gymnasium.make(name, render_mode="ansi", **settings)
    text.reset(seed=5)
    assert text.render().endswith("\n")


def check_vectors(name, settings, actions):
    """Two copies side by side show what each shows alone."""
    environments = gymnasium.make_vec(name, num_envs=2, vectorization_mode="sync", **settings)
    alone = [gymnasium.make(name, **settings) for _ in range(2)]
    together, _ = environments.reset(seed=[3, 4])
    for copy in range(2):
        np.testing.assert_array_equal(together[copy], alone[copy].reset(seed=3 + copy)[0])
    for action in actions:
        seen, rewards, terminated, truncated, _ = environments.step(np.array([action, actions[0]]))
        singles = [alone[0].step(action), alone[1].step(actions[0])]
        for copy, single in enumerate(singles):
            np.testing.assert_array_equal(seen[copy], single[0])
            assert (rewards[copy], terminated[copy], truncated[copy]) == single[1:4]
        if any(single[2] or single[3] for single in singles):
            break
    environments.close()
