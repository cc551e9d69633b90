"""What the numbers say, in words and table rows. No markup: the template escapes and lays out."""

from dataclasses import dataclass

from earl.evaluate import Evaluation, paired_gain
from earl.report.run_data import Row, RunData

_LABELS = {"pass@1": "pass@1, sampled", "pass@1_greedy": "pass@1, greedy", "valid": "valid Verilog, sampled"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """A line of the table before/after. Cells are text; None where there was no evaluation."""

    label: str
    before: str | None
    after: str | None
    change: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyRow:
    """pass@1 of one family before and after, fractions."""

    name: str
    num_problems: int
    before: float | None
    after: float | None
    greedy_before: float | None
    greedy_after: float | None


def verdict(run: RunData) -> str:
    """The result of the run in a paragraph: gain with its interval, minutes, model, seed."""
    return " ".join((*_result(run), *_circumstances(run)))


def _result(run: RunData) -> list[str]:
    if run.before and run.after:
        gain, (low, high) = paired_gain(run.before, run.after)
        before, after = run.before.summary(), run.after.summary()
        verb = "raised" if low > 0 else "lowered" if high < 0 else "did not measurably change"
        numbers = (
            f"from {before['pass@1']:.1%} to {after['pass@1']:.1%}, {gain * 100:+.1f} points"
            f" (95% interval {low * 100:+.1f} to {high * 100:+.1f}, problems resampled in pairs)"
        )
        doubt = "" if low > 0 or high < 0 else " The interval holds zero: this may be chance."
        subject = f"sampled pass@1 on {before['num_problems']} held-out problems"
        return [f"Reinforcement learning {verb} {subject}: {numbers}.{doubt}"]
    if run.before:
        summary = run.before.summary()
        low, high = summary["pass@1_ci95"]
        return [
            f"Before training the policy passed {summary['pass@1']:.1%} (95% interval {low:.1%} to {high:.1%}) of"
            f" samples on {summary['num_problems']} held-out problems; it was not measured after training."
        ]
    if run.steps:
        first, last = _ends(run.steps, "pass_rate")
        return [
            f"On the training problems {first:.0%} of rollouts passed in the first steps and {last:.0%} in the last."
            " The policy was not measured on held-out problems: what this says of unseen ones is unknown."
        ]
    if run.warm_start:
        first, last = _ends(run.warm_start, "loss")
        return [f"A warm start only: the loss went from {first:.3f} to {last:.3f} nats a token."]
    return ["The run has written nothing yet."]


def _ends(rows: list[Row], key: str) -> tuple[float, float]:
    """Means over the first and the last tenth of the rows, at least one."""
    width = max(1, len(rows) // 10)
    values = [row[key] for row in rows]
    return sum(values[:width]) / width, sum(values[-width:]) / width


def _circumstances(run: RunData) -> list[str]:
    config, said = run.config, []
    if run.steps:
        done, planned = run.steps[-1]["step"], config.train.num_steps
        steps = f"{done} steps" if done >= planned else f"{done} of {planned} steps (it is unfinished)"
        group = f"{config.train.num_problems} problems x {config.train.group_size} completions"
        minutes = sum(row["perf/step_s"] for row in run.steps) / 60
        said.append(f"Training did {steps} of {group} in {minutes:.1f} minutes, with the gate {config.gate.name!r}.")
    if "total" in run.wall_s:
        said.append(f"The whole job took {run.wall_s['total'] / 60:.1f} minutes.")
    said.append(f"Model {config.model.path}, seed {config.run.seed}.")
    return said


def score_rows(run: RunData) -> list[ScoreRow]:
    """Each rate with its 95% interval before and after, and the change; of pass@1 with a paired interval."""
    sides = [side.summary() if side else None for side in (run.before, run.after)]
    known = next((side for side in sides if side), None)
    if known is None:
        return []
    rows = []
    for key in [key for key in known if f"{key}_ci95" in known]:
        cells = [_with_interval(side, key) for side in sides]
        change = None
        if sides[0] and sides[1]:
            change = f"{(sides[1][key] - sides[0][key]) * 100:+.1f}"
            if key == "pass@1":
                _, (low, high) = paired_gain(run.before, run.after)
                change += f"  [{low * 100:+.1f}, {high * 100:+.1f}]"
        rows.append(ScoreRow(label=_LABELS.get(key, key), before=cells[0], after=cells[1], change=change))
    return rows


def _with_interval(summary: dict | None, key: str) -> str | None:
    if summary is None or key not in summary:
        return None
    low, high = summary[f"{key}_ci95"]
    return f"{summary[key]:.1%}  [{low:.1%}, {high:.1%}]"


def family_rows(run: RunData) -> list[FamilyRow]:
    """Families of the evaluations, by name."""
    before, after = _by_family(run.before), _by_family(run.after)
    return [
        FamilyRow(
            name=name,
            num_problems=int((before.get(name) or after[name])["num_problems"]),
            before=before[name]["pass@1"] if name in before else None,
            after=after[name]["pass@1"] if name in after else None,
            greedy_before=before[name]["pass@1_greedy"] if name in before else None,
            greedy_after=after[name]["pass@1_greedy"] if name in after else None,
        )
        for name in sorted({*before, *after})
    ]


def _by_family(evaluation: Evaluation | None) -> dict[str, dict[str, float | int]]:
    return evaluation.by_family() if evaluation else {}
