"""What importing the environments does, costs, and refuses."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import kphys.environments
from kphys.environments import RandomWalk, SpinChain, TreasureMap, WalkerTarget

NAMES = ("RandomWalk", "WalkerTarget", "TreasureMap", "SpinChain")


def test_every_world_is_registered_once_and_a_second_import_does_nothing():
    importlib.reload(kphys.environments)
    for name in NAMES:
        spec = gymnasium.spec(f"kphys/{name}-v0")
        module = getattr(kphys.environments, name).__module__
        assert spec.entry_point == f"{module}:{name}"
        assert module.startswith("kphys.environments.")
        assert isinstance(gymnasium.make(spec).unwrapped, getattr(kphys.environments, name))


def test_only_the_walk_for_treasures_has_a_time_limit():
    limits = {name: gymnasium.spec(f"kphys/{name}-v0").max_episode_steps for name in NAMES}
    assert limits == {"RandomWalk": None, "WalkerTarget": None, "TreasureMap": 200, "SpinChain": None}


def test_the_worlds_need_numpy_and_gymnasium_alone():
    # Without kphys/__init__.py, which imports Keras.
    code = f"""
import json, sys, types
package = types.ModuleType("kphys")
package.__path__ = [{str(Path(kphys.__file__).parent)!r}]
sys.modules["kphys"] = package
import gymnasium
import kphys.environments
for name in {NAMES}:
    environment = gymnasium.make(f"kphys/{{name}}-v0", render_mode="rgb_array")
    environment.reset(seed=0)
    environment.step(0)
    environment.render()
heavy = ("tensorflow", "keras", "matplotlib", "scipy", "pygame", "sklearn")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == []


@pytest.mark.parametrize("world", [RandomWalk, WalkerTarget, TreasureMap, SpinChain])
def test_what_every_world_refuses(world):
    with pytest.raises(ValueError, match=r"`render_mode` must be one of 'rgb_array', 'ansi', or None, got 'human'"):
        world(render_mode="human")
    environment = world()
    with pytest.raises(gymnasium.error.ResetNeeded, match="call `reset` before `step`"):
        environment.step(0)
    with pytest.raises(ValueError, match=r"`options` must be None or empty, got \{'map': 1\}"):
        environment.reset(options={"map": 1})
    environment.reset(seed=0, options={})
    actions = environment.action_space.n
    for wrong in (actions, -1, 0.5, "up", None, np.array([0, 1])):
        with pytest.raises(ValueError, match=f"`action` must be an integer from 0 to {actions - 1}, got "):
            environment.step(wrong)
    assert len(environment.step(np.int64(1))) == 5


@pytest.mark.parametrize("world", [RandomWalk, WalkerTarget, SpinChain])
def test_a_game_that_is_over_goes_on_only_after_reset(world):
    environment = world()
    environment.reset(seed=0)
    while not environment.step(0)[2]:
        pass
    with pytest.raises(gymnasium.error.ResetNeeded):
        environment.step(0)
    environment.reset()
    environment.step(0)


def test_drawing_without_a_render_mode_warns():
    environment = RandomWalk()
    environment.reset(seed=0)
    with pytest.warns(UserWarning, match="Nothing is drawn without a render_mode"):
        assert environment.render() is None


@pytest.mark.parametrize("name", NAMES)
def test_further_episodes_follow_from_the_first_seed(name):
    environments = [gymnasium.make(f"kphys/{name}-v0") for _ in range(2)]
    for environment in environments:
        environment.reset(seed=7)
    for _ in range(3):
        np.testing.assert_array_equal(*(environment.reset()[0] for environment in environments))
