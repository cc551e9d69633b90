"""What the checks of a problem come to: whether it may be used, each reason why not, and its mutation score."""

from dataclasses import dataclass, replace

from verifiers.golden_check import TriedCheat
from verifiers.mutate import Mutant
from verifiers.types import Outcome, Port

MIN_SCORE = 0.95  # of the mutants that differ from the golden, the part that the oracle must fail
MIN_MUTANTS = 10  # with fewer the score says little: it is reported, not required


@dataclass(frozen=True, kw_only=True, slots=True)
class Survivor:
    """A mutant that passes. `is_different` False: neither proved equivalent to the golden nor seen to differ."""

    mutant: Mutant
    is_different: bool
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemCheck:
    """Whether a problem may be used, and each reason why not. `num_samples` is the golden's, over all seeds tried."""

    problem_id: str
    reasons: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()  # of the machine: nothing is known of the problem then, and it is not quarantined
    num_samples: int = 0
    num_killed: int = 0
    num_equivalent: int = 0  # passing mutants that are proved equivalent to the golden
    survivors: tuple[Survivor, ...] = ()
    golden_outcome: Outcome | None = None  # None: it could not be tried
    cheats: tuple[TriedCheat, ...] = ()
    equivalent_cheats: tuple[str, ...] = ()  # names of constants that pass and are the golden, by proof
    ports: tuple[Port, ...] = ()  # of the golden; none where it fails
    testbench_survivors: tuple[Mutant, ...] | None = None  # those that a testbench of the problem's own passes, alone

    @property
    def is_sound(self) -> bool:
        return not self.reasons and not self.failures

    @property
    def passing_cheats(self) -> tuple[str, ...]:
        """The names of the cheats that pass and should not."""
        return tuple(x.cheat.name for x in self.cheats if x.passed and x.cheat.name not in self.equivalent_cheats)

    @property
    def is_quarantined(self) -> bool:
        return bool(self.reasons) and not self.failures

    @property
    def num_mutants(self) -> int:
        """The mutants that the score is of."""
        return self.num_killed + len(self.survivors)

    @property
    def mutation_score(self) -> float | None:
        """The part of the mutants that the oracle fails; None where there are none."""
        return self.num_killed / self.num_mutants if self.num_mutants else None

    @property
    def testbench_score(self) -> float | None:
        """The part that the problem's own testbench fails without ours beside it; None without such verdicts."""
        if self.testbench_survivors is None or not self.num_mutants:
            return None
        return 1 - len(self.testbench_survivors) / self.num_mutants

    @property
    def has_few_mutants(self) -> bool:
        return self.num_mutants < MIN_MUTANTS


def with_score(check: ProblemCheck) -> ProblemCheck:
    """The check with a reason against it where too many mutants pass."""
    score = check.mutation_score
    if score is None or check.has_few_mutants or score >= MIN_SCORE:
        return check
    num_open = sum(not survivor.is_different for survivor in check.survivors)
    reason = f"{len(check.survivors)} of {check.num_mutants} mutants pass ({score:.0%} fail, at least {MIN_SCORE:.0%})"
    if num_open:
        reason += f"; {num_open} of these could not be decided"
    return replace(check, reasons=(*check.reasons, reason))
