"""The figures of a report: matplotlib drawings as data URIs of SVG, so that the file needs nothing beside it."""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from earl.report.token_stats import Tally
from verifiers.types import Outcome

Row = dict[str, Any]
BLUE, ORANGE, GREEN, GREY = "#2f5d8a", "#d9822b", "#3a8f5c", "#9aa3ad"
OUTCOME_COLOURS = {
    Outcome.PASSED: GREEN,
    Outcome.MISMATCH: "#e8c468",
    Outcome.TIMEOUT: "#b08a3e",
    Outcome.RESOURCE_LIMIT: "#8a6d2f",
    Outcome.ELABORATION_ERROR: ORANGE,
    Outcome.INTERFACE_ERROR: "#c96a4a",
    Outcome.SYNTAX_ERROR: "#a8434a",
    Outcome.FORBIDDEN_CONSTRUCT: "#6d3b6e",
    Outcome.NO_CODE: "#4a4f57",
    Outcome.TOOL_ERROR: "#c8cdd3",
}
_STYLE = {
    "font.size": 8.5,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#c8cdd3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": "#eceff2",
    "axes.axisbelow": True,
    "xtick.color": "#5b6570",
    "ytick.color": "#5b6570",
    "svg.hashsalt": "earl-rtl",  # equal data, equal file
}
_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...], bool], ...] = (  # title, (metric, label)s, in per cent
    ("Reward", (("reward", "mean"), ("reward_std", "std in group")), False),
    ("Pass rate of rollouts", (("pass_rate", ""),), True),
    ("Groups without variance", (("frac_reward_zero_std", ""),), True),
    ("Entropy, nats a token", (("entropy", ""),), False),
    ("Completion length, tokens", (("completions/mean_length", ""),), False),
    ("KL to the start, nats a token", (("kl", ""),), False),
    ("Tokens kept by the gate", (("gate/kept_fraction", ""),), True),
    ("Gate threshold, nats", (("gate/threshold", ""),), False),
    (
        "|log ratio| to sampler",
        (("sampler/log_ratio_abs_max", "largest"), ("sampler/log_ratio_abs_p999", "99.9 %")),
        False,
    ),
    ("Gradient norm", (("grad_norm", ""),), False),
)
_PHASES = (("perf/sample_s", "sample", BLUE), ("perf/judge_s", "judge", GREEN), ("perf/train_s", "train", ORANGE))


def learning_curves(steps: list[Row]) -> str:
    """A panel for each metric that the run has, and the seconds of a step by phase."""
    panels = [panel for panel in _PANELS if any(key in row for row in steps for key, _ in panel[1])]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 2.0 * math.ceil((len(panels) + 1) / 3)), layout="constrained")
        for place, (title, series, is_percent) in enumerate(panels, start=1):
            axes = _panel(figure, len(panels) + 1, place, title)
            for (key, label), colour in zip(series, (BLUE, ORANGE), strict=False):
                _line(axes, [row.get(key, math.nan) for row in steps], _numbers(steps), label, colour)
            if is_percent:
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
                axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
            _finish(axes, has_legend=len(series) > 1)
        axes = _panel(figure, len(panels) + 1, len(panels) + 1, "Seconds a step")
        _stack(axes, steps, _PHASES)
        return _data_uri(figure)


def warm_start_curve(rows: list[Row]) -> str:
    """The loss of supervised training."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 2.0), layout="constrained")
        axes = _panel(figure, 1, 1, "Warm start: loss, nats a token", columns=1)
        _line(axes, [row["loss"] for row in rows], _numbers(rows), "", BLUE)
        _finish(axes, has_legend=False)
        return _data_uri(figure)


def outcomes(steps: list[Row]) -> str:
    """Shares of all outcomes over the steps, those that never came left out."""
    series = [
        (f"sim/{outcome.value}", outcome.value.replace("_", " "), colour)
        for outcome, colour in OUTCOME_COLOURS.items()
        if any(row.get(f"sim/{outcome.value}") for row in steps)
    ]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 2.6), layout="constrained")
        axes = figure.add_subplot()
        _stack(axes, steps, series)
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("step")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        return _data_uri(figure)


def entropy_by_class(classes: dict[str, Tally], total: Tally) -> str:
    """Mean entropy a class (with the share at which the gate was open), and shares of all and of gated tokens."""
    names = list(classes)[::-1]
    places = range(len(names))
    tallies = [classes[name] for name in names]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10, 0.7 + 0.34 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(places, [tally.mean_entropy for tally in tallies], color=BLUE, height=0.66)
        left.axvline(total.mean_entropy, color=GREY, linewidth=1, linestyle="--")
        for place, tally in zip(places, tallies, strict=True):
            left.annotate(f" {tally.mean_entropy:.2f}", (tally.mean_entropy, place), va="center", color=BLUE)
        left.set_title("Mean entropy, nats (dashed: all tokens)")
        left.set_yticks(places, names)
        for offset, values, colour, label in (
            (
                0.19,
                [tally.num_open / max(total.num_open, 1) for tally in tallies],
                ORANGE,
                "of tokens that the gate lets through",
            ),
            (-0.19, [tally.num_tokens / total.num_tokens for tally in tallies], GREY, "of all tokens"),
        ):
            right.barh([place + offset for place in places], values, color=colour, height=0.36, label=label)
            for place, value in zip(places, values, strict=True):
                right.annotate(f" {value:.0%}", (value, place + offset), va="center", color=colour, fontsize=7)
        right.set_title("Share")
        right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.legend(frameon=False, loc="lower right")
        for axes in (left, right):
            axes.grid(visible=False, axis="y")
            axes.margins(x=0.12)
        return _data_uri(figure)


def _numbers(rows: list[Row]) -> list[int]:
    return [row["step"] for row in rows]


def _panel(figure: Figure, num_panels: int, place: int, title: str, columns: int = 3) -> Axes:
    axes = figure.add_subplot(math.ceil(num_panels / columns), columns, place)
    axes.set_title(title)
    return axes


def _line(axes: Axes, values: list[float], steps: list[int], label: str, colour: str) -> None:
    """The values; over twenty steps a running mean in front of them."""
    if len(values) < 20:
        axes.plot(steps, values, color=colour, marker="o", markersize=2.5, linewidth=1.3, label=label)
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
    axes.plot(steps, _running_mean(values, max(3, len(values) // 12)), color=colour, linewidth=1.6, label=label)


def _running_mean(values: list[float], width: int) -> list[float]:
    means = []
    for place in range(len(values)):
        near = [value for value in values[max(0, place - width // 2) : place + width // 2 + 1] if not math.isnan(value)]
        means.append(math.fsum(near) / len(near) if near else math.nan)
    return means


def _stack(axes: Axes, steps: list[Row], series: Sequence[tuple[str, str, str]]) -> None:
    """Stacked shares or seconds: bars for few steps, areas for many."""
    numbers, bottoms = _numbers(steps), [0.0] * len(steps)
    for key, label, colour in series:
        tops = [bottom + row.get(key, 0.0) for bottom, row in zip(bottoms, steps, strict=True)]
        if len(steps) <= 60:
            heights = [top - bottom for top, bottom in zip(tops, bottoms, strict=True)]
            axes.bar(numbers, heights, bottom=bottoms, color=colour, width=0.85, label=label)
        else:
            axes.fill_between(numbers, bottoms, tops, color=colour, linewidth=0, label=label)
        bottoms = tops
    axes.margins(x=0.01)
    _finish(axes, has_legend=len(series) <= 3)


def _finish(axes: Axes, *, has_legend: bool) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.tick_params(length=0)
    if has_legend:
        # On the title's line, so that it hides no data.
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.3}
        axes.legend(frameon=False, fontsize=7, ncols=3, columnspacing=0.9, handlelength=1.2, **place)


def _data_uri(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
