"""In which order problems come: functions of seed, step and, where the order asks for it, of pass rates."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from earl.config import Config
from earl.control.order import ORDERS, Record, order_params, weighted_draw
from earl.params import Params
from toolchain.errors import UsageError
from verifiers.types import Problem


class ProblemSource(Protocol):
    """Endless batches of problems. Equal seed, step and state, equal problems."""

    def batch(self, step: int) -> tuple[list[Problem], int]:
        """The problems of a step (from 1), none twice, and the epoch they belong to."""
        ...

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to."""
        ...

    def more(self, step: int, number: int, num: int, taken: Iterable[Problem]) -> list[Problem]:
        """Up to `num` problems that are not among `taken`, for the `number`-th further round of a step."""
        ...

    def observe(self, outcomes: Iterable[tuple[str, float]]) -> None:
        """Hear of a step's groups: problem id and pass rate."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemStream:
    """Shuffled epochs: every epoch a new order, no problem twice in one batch or epoch. Has no state."""

    problems: tuple[Problem, ...]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        _refuse_too_few(self.problems, self.batch_size)

    def batch(self, step: int) -> tuple[list[Problem], int]:
        """See `ProblemSource`."""
        epoch, position = _epoch_of(step, self.problems, self.batch_size)
        order = list(self.problems)
        random.Random(f"{self.seed}:{epoch}").shuffle(order)
        start = position * self.batch_size
        return order[start : start + self.batch_size], epoch

    def epoch(self, step: int) -> int:
        """See `ProblemSource`."""
        return _epoch_of(step, self.problems, self.batch_size)[0]

    def more(self, step: int, number: int, num: int, taken: Iterable[Problem]) -> list[Problem]:
        """See `ProblemSource`."""
        left = _left(self.problems, taken)
        return random.Random(f"{self.seed}:{step}:{number}").sample(left, min(num, len(left)))

    def observe(self, outcomes: Iterable[tuple[str, float]]) -> None:
        """Nothing depends on it."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing depends on it: pass rates are there where a forced change took another order away."""


@dataclass(kw_only=True, slots=True)
class WeightedStream:
    """Draws by weights that follow the pass rates seen so far (`earl.control.order`)."""

    problems: tuple[Problem, ...]
    batch_size: int
    seed: int
    order: str
    params: Params
    history: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_too_few(self.problems, self.batch_size)

    def batch(self, step: int) -> tuple[list[Problem], int]:
        """See `ProblemSource`. An epoch is as many steps as it takes to visit as many problems as there are."""
        return self._draw(self.problems, self.batch_size, f"{step}"), self.epoch(step)

    def epoch(self, step: int) -> int:
        """See `ProblemSource`."""
        return _epoch_of(step, self.problems, self.batch_size)[0]

    def more(self, step: int, number: int, num: int, taken: Iterable[Problem]) -> list[Problem]:
        """See `ProblemSource`."""
        return self._draw(tuple(_left(self.problems, taken)), num, f"{step}:{number}")

    def _draw(self, problems: tuple[Problem, ...], num: int, moment: str) -> list[Problem]:
        # Weights are of the whole set, so that a curriculum opens the same families whatever has been taken.
        weights = dict(
            zip(
                (problem.problem_id for problem in self.problems),
                ORDERS[self.order].weights(self.problems, self.history, self.params),
                strict=True,
            )
        )
        rng = random.Random(f"{self.seed}:{moment}")
        chosen = weighted_draw([weights[problem.problem_id] for problem in problems], num, rng)
        return [problems[index] for index in chosen]

    def observe(self, outcomes: Iterable[tuple[str, float]]) -> None:
        """See `ProblemSource`. The first visit replaces the prior."""
        for problem_id, pass_rate in outcomes:
            record = self.history.get(problem_id, Record())
            memory = self.params.memory if record.num_visits else 0.0
            self.history[problem_id] = Record(
                pass_rate=memory * record.pass_rate + (1 - memory) * pass_rate, num_visits=record.num_visits + 1
            )

    def state_dict(self) -> dict[str, Any]:
        """Problem id -> [pass rate, visits]."""
        return {name: [record.pass_rate, record.num_visits] for name, record in self.history.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = {name: Record(pass_rate=rate, num_visits=visits) for name, (rate, visits) in state.items()}


def make_source(problems: Iterable[Problem], config: Config) -> ProblemSource:
    """The problems in the order of `problems.order`. UsageError for too few of them, or an order that is none."""
    params = order_params(config.problems.order, config.problems.params)
    common = {"problems": tuple(problems), "batch_size": config.train.num_problems, "seed": config.run.seed}
    if ORDERS[config.problems.order].weights is None:
        return ProblemStream(**common)
    return WeightedStream(**common, order=config.problems.order, params=params)


def _refuse_too_few(problems: tuple[Problem, ...], batch_size: int) -> None:
    if len(problems) < batch_size:
        raise UsageError(
            f"a step takes {batch_size} problems and the set has {len(problems)};"
            " raise problems.num_problems or lower train.num_problems"
        )


def _epoch_of(step: int, problems: tuple[Problem, ...], batch_size: int) -> tuple[int, int]:
    """The epoch of a step (from 1), and which step of the epoch it is (from 0)."""
    return divmod(step - 1, len(problems) // batch_size)


def _left(problems: tuple[Problem, ...], taken: Iterable[Problem]) -> list[Problem]:
    names = {problem.problem_id for problem in taken}
    return [problem for problem in problems if problem.problem_id not in names]
