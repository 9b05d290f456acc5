"""Films of agents at play."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from kphys import _arguments

_WRITERS = {".gif": "pillow", ".mp4": "ffmpeg"}


def record(play: Callable[[Any], float], environment: Any, path: str | os.PathLike[str], fps: int) -> float:
    """Writes what `environment` draws while `play` plays one episode in it, and gives the return that this gives."""
    import gymnasium

    path, fps = pathlib.Path(path), _arguments.integer("fps", fps)
    _check_writer(path)
    by_name = isinstance(environment, str)
    opened = gymnasium.make(environment, render_mode="rgb_array") if by_name else environment
    _check_drawn(opened)
    collected = gymnasium.wrappers.RenderCollection(opened, reset_clean=False)
    try:
        episode_return = play(collected)
        frames = collected.render()[:-1]  # The last one is the start of an episode that is not played.
    finally:
        if by_name:
            opened.close()
    _write(np.stack(frames), path, fps)
    return episode_return


def _check_writer(path: pathlib.Path) -> None:
    from matplotlib.animation import writers

    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise ValueError(f"`path` must end in {' or '.join(_WRITERS)}, got {str(path)!r}.")
    if not writers.is_available(writer):
        raise ValueError(f"`path` {str(path)!r} needs {writer}, which is not installed: write a .gif.")


def _check_drawn(environment: Any) -> None:
    import gymnasium

    if not isinstance(environment, gymnasium.Env):
        raise TypeError(
            f"`environment` must be a single Gymnasium environment or a name, got {type(environment).__name__}."
        )
    if environment.render_mode != "rgb_array":
        raise ValueError(
            f"`environment` must draw itself, got render_mode={environment.render_mode!r}: make it with "
            "gymnasium.make(name, render_mode='rgb_array')."
        )


def _write(frames: np.ndarray, path: pathlib.Path, fps: int) -> None:
    from matplotlib.animation import writers
    from matplotlib.figure import Figure

    dots = 100
    height, width = frames.shape[1:3]
    figure = Figure((width / dots, height / dots), dpi=dots)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    image = axes.imshow(frames[0], interpolation="nearest", aspect="auto")
    writer = writers[_WRITERS[path.suffix]](fps=fps)
    # In one piece: a film that cannot be finished leaves the one of before.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with writer.saving(figure, str(unfinished), dots):
            for frame in frames:
                image.set_data(frame)
                writer.grab_frame()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
