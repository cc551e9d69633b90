"""Early-warning signs: figures that tell of a run going wrong before its reward does, each with a line of advice.

A sign speaks once when its threshold is passed, and again only after it has been below it. Baselines are the means of
the run's first steps: state of the run, `state_dict` belongs into a checkpoint. Nothing here changes what is trained.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from earl.config import SignsConfig
from earl.rollout import RolloutJudge
from earl.step import StepResult

Metrics = dict[str, float]
_GAP, _NUM_RECHECKED, _REFUSED = "cheat/recheck_gap", "cheat/num_rechecked", "cheat/refused"
_TOTALS = (_GAP, _NUM_RECHECKED, _REFUSED)


@dataclass(frozen=True, slots=True)
class Sign:
    """Whether it holds, from a step's metrics and the first steps' means; and what to say."""

    needs: str  # the metric
    holds: Callable[[Metrics, Metrics, SignsConfig], bool]
    advice: str  # with {now} and {first} of that metric


def _is_off(value: float, first: float, factor: float) -> bool:
    return first > 0 and not first / factor <= value <= first * factor


SIGNS = {
    "entropy_collapse": Sign(
        "entropy",
        lambda now, first, config: now["entropy"] < config.entropy_below * first["entropy"],
        "entropy fell to {now:.3f} nats from {first:.3f}: the policy stops exploring; raise loss.clip_high or"
        " kl.beta, or lower train.learning_rate",
    ),
    "length_drift": Sign(
        "completions/mean_length",
        lambda now, first, config: _is_off(
            now["completions/mean_length"], first["completions/mean_length"], config.length_factor
        ),
        "completions are {now:.0f} tokens long, {first:.0f} at first: read some; if they ramble, set"
        " reward.overlong.buffer, if they shrink, look for a short cheat",
    ),
    "zero_variance": Sign(
        "frac_reward_zero_std",
        lambda now, first, config: now["frac_reward_zero_std"] > config.zero_variance_above,
        "{now:.0%} of the groups teach nothing, their rewards are equal: set groups.filter = variance with"
        " groups.max_rounds, problems.order = adaptive, or change problems.levels",
    ),
    "kept_fraction_drift": Sign(
        "gate/kept_fraction",
        lambda now, first, config: _is_off(now["gate/kept_fraction"], first["gate/kept_fraction"], config.kept_factor),
        "the gate lets {now:.0%} of the tokens through, {first:.0%} at first: check gate.params (a schedule does this"
        " on purpose; min_entropy and the cone follow the policy)",
    ),
    "forbidden_constructs": Sign(
        _REFUSED,
        lambda now, first, config: now[_REFUSED] > config.forbidden_above,
        "the screen refuses {now:.0%} of the completions{rules}: the policy tries to get round the judge; read them in"
        " completions/",
    ),
    "recheck_gap": Sign(
        _GAP,
        lambda now, first, config: now[_GAP] > config.recheck_gap_above,
        "{now:.0%} of the passes fail under other stimulus: the policy learns the training seeds' blind spots; prove"
        " the problems (`earl problems check`) and leave out weak ones",
    ),
}


class Signs:
    """The signs of one run."""

    def __init__(self, config: SignsConfig) -> None:
        self._config = config
        self._first: list[Metrics] = []
        self._raised: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """What the first steps were like, and which signs hold."""
        return {"first": self._first, "raised": sorted(self._raised)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._first, self._raised = list(state["first"]), set(state["raised"])

    def update(self, metrics: Metrics) -> list[str]:
        """The lines to print for a step: one for each sign that has begun to hold."""
        if not self._config.is_on:
            return []
        if len(self._first) < self._config.first_steps:
            needed = (sign.needs for sign in SIGNS.values())
            self._first.append({name: metrics[name] for name in needed if name in metrics})
        lines = []
        for name, sign in SIGNS.items():
            first = [row[sign.needs] for row in self._first if sign.needs in row]
            if sign.needs not in metrics or not first:
                continue
            mean = sum(first) / len(first)
            if not sign.holds(metrics, {sign.needs: mean}, self._config):
                self._raised.discard(name)
            elif name not in self._raised:
                self._raised.add(name)
                lines.append(sign.advice.format(now=metrics[sign.needs], first=mean, rules=_rules(metrics)))
        return lines


def _rules(metrics: Metrics) -> str:
    """The rule of the screen that refused most, in brackets."""
    rules = {
        name: share for name, share in metrics.items() if name.startswith("cheat/") and name not in _TOTALS and share
    }
    return f" (most by {max(rules, key=rules.__getitem__).removeprefix('cheat/')})" if rules else ""


def recheck_metrics(judge: RolloutJudge, result: StepResult, step: int, config: SignsConfig) -> Metrics:
    """The share of a step's passes that fail under the evaluation seeds, on every `recheck_every`-th step.

    At most `recheck_passes` of them are judged again, the first of each group in turn. No metric without any.
    """
    if not config.is_on or not config.recheck_every or step % config.recheck_every:
        return {}
    passes = [[rollout for rollout in group if rollout.verdict.passed] for group in result.rollouts]
    columns = itertools.chain.from_iterable(
        itertools.zip_longest(*([(number, rollout) for rollout in group] for number, group in enumerate(passes)))
    )
    chosen = list(itertools.islice((item for item in columns if item is not None), config.recheck_passes))
    answers: list[bool | None] = []
    for number, problem in enumerate(result.problems):
        rollouts = [rollout for owner, rollout in chosen if owner == number]
        answers += judge.recheck(problem, rollouts)
    told = [answer for answer in answers if answer is not None]
    return {_GAP: told.count(False) / len(told), _NUM_RECHECKED: float(len(told))} if told else {}
