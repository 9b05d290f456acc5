"""Atari games as deep Q-learning has played them since 2015: small, gray, every fourth frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from kphys import _arguments

_SCREEN = 84


def atari(
    game: str,
    *,
    clip_rewards: bool = True,
    repeat_action_probability: float = 0.0,
    max_episode_steps: int | None = 27_000,
    **settings: Any,
) -> Any:
    """Gives an Atari game that shows one gray frame of 84×84 a step, for `dqn((84, 84, 4), …, frame_stack=4)`.

    Every action is repeated for four frames, of the last two of which the maximum is shown; an episode begins with up
    to 30 frames of doing nothing (`gymnasium.wrappers.AtariPreprocessing`).

    Args:
        game: Its name, such as "Pong", or the full one, "ALE/Pong-v5".
        clip_rewards: Whether rewards are replaced by their signs. Evaluate with `False` for the game's own score.
        repeat_action_probability: The chance that the game takes the last action in place of the new one; 0.25 makes
            "sticky actions" (Machado et al. 2018).
        max_episode_steps: Steps after which a time limit cuts the episode off; 27,000 are half an hour of play.
        **settings: As in `gymnasium.make`, such as `render_mode="rgb_array"`.

    Returns:
        A Gymnasium environment with images of uint8, `(84, 84)`.

    Raises:
        ImportError: Without ale-py and OpenCV, which `pip install kphys[atari]` brings.
        ValueError: A game that is not known.

    Reference:
        Mnih et al., 2015, "Human-level control through deep reinforcement learning".
        Machado et al., 2018, "Revisiting the Arcade Learning Environment".
    """
    try:
        import ale_py
        import cv2  # noqa: F401 - what shrinks the frames.
    except ImportError as error:
        raise ImportError("Atari games need ale-py and OpenCV: pip install kphys[atari].") from error
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, TransformReward

    _arguments.flag("clip_rewards", clip_rewards)
    if not isinstance(game, str):
        raise TypeError(f"`game` must be the name of a game such as 'Pong', got {game!r} ({type(game).__name__}).")
    gymnasium.register_envs(ale_py)
    name = game if "/" in game else f"ALE/{game}-v5"
    if name not in gymnasium.registry:
        games = [key.removeprefix("ALE/").removesuffix("-v5") for key in gymnasium.registry if key.startswith("ALE/")]
        raise ValueError(f"`game` must be an Atari game, got {game!r}.{_arguments.nearest(game, games)}")
    # The preprocessing repeats actions itself.
    environment = gymnasium.make(
        name,
        frameskip=1,
        repeat_action_probability=_arguments.real(
            "repeat_action_probability", repeat_action_probability, minimum=0, below=1
        ),
        **settings,
    )
    environment = AtariPreprocessing(environment, noop_max=30, frame_skip=4, screen_size=_SCREEN)
    if max_episode_steps is not None:
        limit = _arguments.integer("max_episode_steps", max_episode_steps)
        environment = gymnasium.wrappers.TimeLimit(environment, limit)
    return TransformReward(environment, np.sign) if clip_rewards else environment
