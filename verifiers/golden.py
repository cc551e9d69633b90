"""Runs golden designs and keeps their traces in memory, apart from every candidate's process and folder."""

import functools
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolchain.errors import InfrastructureError
from verifiers.errors import ProblemError, fault_of_golden
from verifiers.infer import constant_outputs, infer_protocol
from verifiers.interface import ports_of
from verifiers.lexer import LexemeKind, lex
from verifiers.simulate import Design, Failure, Image, Simulator
from verifiers.stimulus import Stimulus, draw_stimulus
from verifiers.trace import Expectation, Trace, expectation_of
from verifiers.trace_store import TraceStore
from verifiers.types import Port, Problem, Protocol, ReferenceOracle

_LITERAL = re.compile(r"(?:\d*'s?(?P<base>[bodh]))?(?P<digits>[0-9a-f]+)")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}
_COUNTS = range(64, 2049)  # below, any run is long enough; above, a literal is rather a code or a mask
_COUNTER_BITS = 8  # the widest counter that is waited for: each further bit doubles the run
_LATER_CYCLES = 4096  # of `min_cycles`, under all seeds but the first: the day of a clock is over once, not at each
_NUM_TRACES = 128
_NUM_IMAGES = 128
_NUM_HARNESSES = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """What a design needs to be driven: its ports, and how its inputs behave."""

    ports: tuple[Port, ...]
    protocol: Protocol
    literals: tuple[int, ...]  # the numbers in the golden's text, without repeats


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenRun:
    """A golden's trace and the stimulus that it belongs to."""

    stimulus: Stimulus
    trace: Trace
    expectation: Expectation


class GoldenRuns:
    """The goldens' traces under one simulator, the most recent kept by oracle and seed, all of them in `store`.

    A golden that comes again under another seed is not compiled again.
    """

    def __init__(self, simulator: Simulator, store: TraceStore | None = None) -> None:
        self._simulator = simulator
        known = self._draw_and_run if store is None else functools.partial(self._look_up_or_run, store=store)
        self._cached_run = functools.lru_cache(maxsize=_NUM_TRACES)(known)
        self._images: OrderedDict[tuple[ReferenceOracle, Harness], Image] = OrderedDict()  # the most recent last

    def runs(self, problem: Problem, seeds: Sequence[int]) -> list[GoldenRun]:
        """The golden's run under each seed; very late behaviour is awaited under the first alone. Raises as `run`."""
        return [
            self.run(problem, seed, max_cycles=_LATER_CYCLES if place else None) for place, seed in enumerate(seeds)
        ]

    def run(self, problem: Problem, seed: int, *, is_fresh: bool = False, max_cycles: int | None = None) -> GoldenRun:
        """The golden's run under `seed`; `is_fresh` runs it again even if its trace is known.

        `max_cycles` bounds the protocol's `min_cycles`. Raises ProblemError when the golden does not run: then no
        candidate of the problem can be judged. Raises InfrastructureError when the machine fails.
        """
        run = self._draw_and_run if is_fresh else self._cached_run
        harness = harness_of(problem)
        if max_cycles is not None and harness.protocol.min_cycles > max_cycles:
            harness = replace(harness, protocol=replace(harness.protocol, min_cycles=max_cycles))
        if is_fresh:
            self._images.pop((problem.oracle, harness), None)
        try:
            return run(problem.oracle, harness, seed)
        except InfrastructureError as error:
            raise type(error)(f"problem {problem.problem_id}: {error}") from error

    def _look_up_or_run(self, oracle: ReferenceOracle, harness: Harness, seed: int, store: TraceStore) -> GoldenRun:
        ports, protocol, literals = harness.ports, harness.protocol, harness.literals
        key = store.key(oracle.golden, oracle.golden_top, ports=ports, protocol=protocol, literals=literals, seed=seed)
        inputs = tuple(port for port in ports if port.direction == "input")
        stored = store.get(key, inputs=inputs, seed=seed)
        if stored is not None:
            return _golden_run(*stored)
        run = self._draw_and_run(oracle, harness, seed)
        store.put(key, run.stimulus, run.trace)
        return run

    def _draw_and_run(self, oracle: ReferenceOracle, harness: Harness, seed: int) -> GoldenRun:
        """The run under the usual stimulus, or under a steadier one where an output never moved that could."""
        stimulus = draw_stimulus(harness.ports, harness.protocol, seed, literals=harness.literals)
        run = self._run(oracle, harness, stimulus)
        if harness.protocol.clocks and _has_stuck_output(run, oracle):
            literals = harness.literals
            stimulus = draw_stimulus(harness.ports, harness.protocol, seed, literals=literals, is_steady=True)
            run = self._run(oracle, harness, stimulus)
        return run

    def _run(self, oracle: ReferenceOracle, harness: Harness, stimulus: Stimulus) -> GoldenRun:
        result = self._play(oracle, harness, stimulus)
        if isinstance(result, Failure):
            said = "; ".join(diagnostic.message for diagnostic in result.diagnostics)
            raise fault_of_golden(result.ending)(
                f"the golden fails at {result.stage} ({result.ending}): {said}. Repair it."
            )
        return _golden_run(stimulus, result)

    def _play(self, oracle: ReferenceOracle, harness: Harness, stimulus: Stimulus) -> Trace | Failure:
        key = (oracle, harness)
        image = self._images.pop(key, None)
        if image is None:
            result = self._simulator.simulate(
                (Design(text=oracle.golden, top=oracle.golden_top),),
                (stimulus,),
                ports=harness.ports,
                protocol=harness.protocol,
                keeps_image=True,
            )
            if isinstance(result, Failure):
                return result
            image, traces = result.image, result.traces
        else:
            traces = self._simulator.replay(image, (stimulus,))
            if isinstance(traces, Failure):
                return traces
        self._images[key] = image
        if len(self._images) > _NUM_IMAGES:
            self._images.popitem(last=False)
        return traces[0][0]


def _has_stuck_output(run: GoldenRun, oracle: ReferenceOracle) -> bool:
    """Whether an output that is no constant had one value in all samples of a run."""
    stuck = {name for name, fraction in run.expectation.constant_fractions.items() if fraction == 1.0}
    return bool(stuck) and bool(stuck - constant_outputs(oracle.golden, oracle.golden_top))


def _golden_run(stimulus: Stimulus, trace: Trace) -> GoldenRun:
    return GoldenRun(stimulus=stimulus, trace=trace, expectation=expectation_of(trace, stimulus))


def harness_of(problem: Problem) -> Harness:
    """The ports and protocol of a problem, read off its golden where the problem does not say.

    Raises ProblemError for ports that cannot be driven (inout), UsageError for a golden without its top module.
    """
    return _harness(problem.oracle, problem.ports)


@functools.lru_cache(maxsize=_NUM_HARNESSES)
def _harness(oracle: ReferenceOracle, ports: tuple[Port, ...] | None) -> Harness:
    if ports is None:
        ports = ports_of(oracle.golden, oracle.golden_top)
    inout = [port.name for port in ports if port.direction not in ("input", "output")]
    if inout:
        raise ProblemError(f"inout ports cannot be driven yet, and the golden has {', '.join(inout)}.")
    literals = number_literals(oracle.golden)
    protocol = oracle.protocol
    if protocol is None:
        protocol = infer_protocol(oracle.golden, oracle.golden_top)
        if protocol.clocks:
            protocol = replace(protocol, min_cycles=max(_cycles_to_reach(literals), _cycles_to_wrap(ports)))
    return Harness(ports=ports, protocol=protocol, literals=literals)


def _cycles_to_reach(literals: tuple[int, ...]) -> int:
    """How long a run must be for a counter to pass the largest of the literals that look like a count; 0 for none."""
    counts = [value for value in literals if value in _COUNTS]
    return max(counts, default=0) * 5 // 4


def _cycles_to_wrap(ports: tuple[Port, ...]) -> int:
    """How long a run must be for a counter on an output to wrap with an enable that is high half of the time."""
    widths = [port.width for port in ports if port.direction == "output" and port.width <= _COUNTER_BITS]
    return 5 * 2 ** max(widths, default=0) // 2


def number_literals(source: str) -> tuple[int, ...]:
    """The values of the number literals in Verilog source, in order, once each; those with x, z or a point not.

    A design that waits for one value of a wide input is only driven to it by such a list.
    """
    texts = (source[lexeme.start : lexeme.end] for lexeme in lex(source) if lexeme.kind is LexemeKind.NUMBER)
    values = (_literal_value(text) for text in texts)
    return tuple(dict.fromkeys(value for value in values if value is not None))


def _literal_value(text: str) -> int | None:
    match = _LITERAL.fullmatch(text.replace("_", "").replace(" ", "").lower())
    if match is None:
        return None
    base = _BASES[match["base"] or "d"]
    try:
        return int(match["digits"], base)
    except ValueError:  # a digit that the base lacks: not a number that any input can take
        return None
