"""What `kphys.records.compare` gives: runs in groups of one setting, as a table and a plot."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kphys import _arguments, _figures
from kphys.evaluation._results import Score

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kphys.records import Record

# More columns than these make the table wider than a screen.
MOST_SETTINGS, MOST_METRICS, MOST_SEEDS = 4, 5, 6
# How layers are joined: what a change of a layer brings with it.
_WIRING = ("inbound_nodes", "input_layers", "output_layers")


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """Runs of one setting.

    Attributes:
        label: What their folders' names have in common.
        fingerprint: That of their records.
        records: The runs.
        scores: Metric to `Score`: mean and its standard error over the runs that ended; NaN is the error of one run.
    """

    label: str
    fingerprint: str
    records: tuple[Record, ...]
    scores: dict[str, Score]

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The runs' seeds."""
        return tuple(record.seed for record in self.records)

    def curve(self, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gives epochs, mean and standard error `(epochs,)` over the runs that have the epoch.

        Epochs in which no run has a value are left out. NaN is the error of one run, and the mean where a run diverged.
        """
        values: dict[int, list[float]] = {}
        for record in self.records:
            if metric in record.history:
                for epoch, value in zip(record.history["epoch"], record.history[metric], strict=True):
                    values.setdefault(int(epoch), []).append(float(value))
        epochs = [epoch for epoch in sorted(values) if not all(map(math.isnan, values[epoch]))]
        scores = [_mean(values[epoch]) for epoch in epochs]
        return np.array(epochs, int), *(np.array([score[part] for score in scores], float) for part in (0, 1))


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Groups of runs by label, `comparison["label"]`; prints as a table.

    Attributes:
        metric: What is drawn.
        groups: The groups, in the order of their first runs.
        settings: What differs between groups: name, such as "optimizer.learning_rate", to its value in each group,
            `None` where the group has no such thing.
        notes: What to keep in mind.
    """

    metric: str
    groups: tuple[Group, ...]
    settings: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...]

    def __getitem__(self, label: str) -> Group:
        groups = {group.label: group for group in self.groups}
        if label not in groups:
            raise KeyError(f"no group {label!r}; there are {', '.join(groups)}.{_arguments.nearest(label, groups)}")
        return groups[label]

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys([self.metric, *(name for group in self.groups for name in group.scores)]))

    def __repr__(self) -> str:
        settings = list(self.settings)[:MOST_SETTINGS]
        metrics = self._metrics()[:MOST_METRICS]
        rows = [["", "runs", "seeds", *(name.removeprefix("model.") for name in settings), *metrics]]
        for place, group in enumerate(self.groups):
            cells = [group.label, str(len(group.records)), _seeds(group.seeds)]
            cells += [_short(self.settings[name][place]) for name in settings]
            rows.append(cells + [_printed(group.scores.get(name)) for name in metrics])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        number = sum(len(group.records) for group in self.groups)
        title = (
            f"{_count(number, 'run')} of {_count(len(self.groups), 'setting')}: last epoch, mean ± error of the mean"
        )
        return "\n".join([title, *(line.rstrip() for line in lines), *(f"note: {note}" for note in self._all_notes())])

    def _all_notes(self) -> list[str]:
        notes = list(self.notes)
        for most, names, where in (
            (MOST_SETTINGS, list(self.settings), "settings"),
            (MOST_METRICS, self._metrics(), "groups[…].scores"),
        ):
            if len(names) > most:
                further = f"{', '.join(names[most : most + 3])}{', …' * (len(names) > most + 3)}"
                notes.append(f"{len(names) - most} more in .{where}: {further}")
        return notes

    def as_dict(self) -> dict[str, Any]:
        """Gives everything that is printed as plain Python values, ready for JSON; `None` for no error and for NaN."""
        groups = [
            {
                "label": group.label,
                "fingerprint": group.fingerprint,
                "folders": [str(record.folder) for record in group.records],
                "status": [record.status for record in group.records],
                "seeds": list(group.seeds),
                "settings": {name: values[place] for name, values in self.settings.items()},
                "scores": {
                    name: {part: value if math.isfinite(value) else None for part, value in score._asdict().items()}
                    for name, score in group.scores.items()
                },
            }
            for place, group in enumerate(self.groups)
        ]
        return {"metric": self.metric, "groups": groups, "notes": list(self.notes)}

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws the metric against the epoch, one line a group with a band of its error; saves to `path` if given.

        Args:
            path: file to write, its ending says the format (`.png`, `.pdf`, `.svg`); `None` writes nothing.

        Returns:
            A `matplotlib.figure.Figure`, which needs no screen. Where runs end at different epochs, the line is the
            mean over those that have the epoch.
        """
        from matplotlib import colormaps
        from matplotlib.ticker import MaxNLocator

        figure, (panel,) = _figures.panels(1, 6.8)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        colors = colormaps["viridis"](np.linspace(0.0, 0.9, len(self.groups)))
        for group, color in zip(self.groups, colors, strict=True):
            epoch, mean, error = group.curve(self.metric)
            if not len(epoch):
                continue
            label = f"{group.label} ({_count(len(group.records), 'run')})"
            panel.plot(epoch, mean, color=color, label=label, marker="o" if len(epoch) < 20 else None, markersize=3)
            panel.fill_between(epoch, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)
        several = any(len(group.records) > 1 for group in self.groups)
        panel.set(xlabel="epoch", ylabel=self.metric, title="mean ± error of the mean" if several else "")
        panel.legend(frameon=False, fontsize=9 if len(self.groups) <= 6 else 7)
        return _figures.save(figure, path)


def compare_records(records: list[Record], metric: str) -> Comparison:
    """Groups the records by fingerprint."""
    members: dict[str, list[Record]] = {}
    for record in records:
        members.setdefault(record.config["fingerprint"], []).append(record)
    labels = _labels(records, list(members.values()))
    groups = tuple(
        Group(label, fingerprint, tuple(runs), _scores(runs))
        for label, (fingerprint, runs) in zip(labels, members.items(), strict=True)
    )
    return Comparison(metric, groups, _differences(groups), _notes(groups))


def _mean(values: list[float]) -> Score:
    number, mean = len(values), float(np.mean(values))
    if number == 1 or not math.isfinite(mean):
        return Score(mean, math.nan)
    return Score(mean, float(np.std(values, ddof=1)) / math.sqrt(number))


def _scores(records: list[Record]) -> dict[str, Score]:
    finals = [record.result["final"] for record in records if record.result is not None]
    names = dict.fromkeys(name for final in finals for name in final)
    return {name: _mean([final[name] for final in finals if name in final]) for name in names}


def _labels(records: list[Record], members: list[list[Record]]) -> list[str]:
    """Gives each group what its folders' names have in common, or its first folder where that says too little."""
    folders = {record.folder: record.folder.resolve() for record in records}
    base = os.path.commonpath([folder.parent for folder in folders.values()])
    names = [[folders[record.folder].relative_to(base).as_posix() for record in runs] for runs in members]
    labels = [_common_part(group) for group in names]
    return [
        label if label and labels.count(label) == 1 else f"{group[0]}, …" if len(group) > 1 else label
        for label, group in zip(labels, names, strict=True)
    ]


def _common_part(names: list[str]) -> str:
    first, last = min(names), max(names)
    length = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    if len(names) == 1:
        return first
    common = first[:length]
    if any(name[length : length + 1].isdigit() for name in names):
        common = common.rstrip("0123456789")  # Half a number says something else.
    return common.rstrip("/-_. ").removesuffix("seed").rstrip("/-_. ")


def _differences(groups: tuple[Group, ...]) -> dict[str, tuple[Any, ...]]:
    settings = [group.records[0].config["setting"] for group in groups]
    names = dict.fromkeys(name for setting in settings for name in setting)
    found = {name: tuple(setting.get(name) for setting in settings) for name in names}
    found = {name: values for name, values in found.items() if any(value != values[0] for value in values)}
    # What every group has comes first, what follows from other changes last.
    return dict(sorted(found.items(), key=lambda item: (item[0].endswith(_WIRING), None in item[1])))


def _notes(groups: tuple[Group, ...]) -> tuple[str, ...]:
    notes = []
    for group in groups:
        for record in group.records:
            if record.result is None:
                epochs = len(record.history.get("epoch", ()))
                notes.append(f"{record.folder.name} is unfinished after {_count(epochs, 'epoch')}: not in the table")
            else:
                wrong = [name for name, value in record.result["final"].items() if not math.isfinite(value)]
                if wrong:
                    notes.append(f"{record.folder.name} ended with {', '.join(wrong)} not finite")
        twice = [seed for seed, number in Counter(group.seeds).items() if seed is not None and number > 1]
        if twice:
            notes.append(f"{group.label}: seed {twice[0]} occurs twice: equal runs make the error too small")
    return tuple(notes)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _seeds(seeds: tuple[int | None, ...]) -> str:
    known = sorted({seed for seed in seeds if seed is not None})
    return ", ".join(map(str, known[:MOST_SEEDS])) + ", …" * (len(known) > MOST_SEEDS) or "–"


def _short(value: Any) -> str:
    text = "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _printed(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:.4g}" if math.isfinite(score.value) and math.isnan(score.error) else str(score)
