"""The lectures' own small worlds as Gymnasium environments.

Importing this registers `kphys/RandomWalk-v0`, `kphys/WalkerTarget-v0`, `kphys/TreasureMap-v0` and
`kphys/SpinChain-v0`, for `gymnasium.make` and `gymnasium.make_vec`; keyword arguments pass through:
`gymnasium.make("kphys/SpinChain-v0", num_spins=4)`.
"""

import gymnasium

from kphys.environments.random_walk import RandomWalk
from kphys.environments.spin_chain import SpinChain
from kphys.environments.treasure_map import TreasureMap
from kphys.environments.walker_target import WalkerTarget

__all__ = ["RandomWalk", "SpinChain", "TreasureMap", "WalkerTarget"]

# Class -> the steps after which an episode is cut off (truncated). The other games have an end of their own.
_TIME_LIMITS = {RandomWalk: None, WalkerTarget: None, TreasureMap: 200, SpinChain: None}

for _world, _limit in _TIME_LIMITS.items():
    _name = f"kphys/{_world.__name__}-v0"
    # Gymnasium warns of a name that it already has, as after a reload.
    if _name not in gymnasium.registry:
        gymnasium.register(_name, f"{_world.__module__}:{_world.__name__}", max_episode_steps=_limit)
