"""When the farm fails fast, and how it finds its way back."""

import pytest

from toolchain.errors import InfrastructureError
from verifiers import breaker as breaker_module
from verifiers.breaker import MIN_JOBS, WINDOW_JOBS, CircuitBreaker


class _Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = _Clock()
    monkeypatch.setattr(breaker_module, "time", fake)
    return fake


def _record(breaker: CircuitBreaker, ends: str, *, num_problems: int = 4) -> None:
    """One job a letter: `x` is a tool error, anything else a verdict."""
    for number, end in enumerate(ends):
        is_trial = breaker.enter()
        breaker.record(f"p{number % num_problems}", "disk full" if end == "x" else "", is_trial=is_trial)


def test_it_stays_closed_below_the_rate(clock):
    breaker = CircuitBreaker(max_rate=0.5)
    _record(breaker, "x.." * 40)
    breaker.check()
    assert breaker.state == "closed"


def test_it_needs_a_number_of_jobs_before_it_opens(clock):
    breaker = CircuitBreaker()
    _record(breaker, "x" * (MIN_JOBS - 1))
    assert breaker.state == "closed"
    _record(breaker, "x")
    assert breaker.state == "open"


def test_open_it_names_the_rate_and_the_last_error(clock):
    breaker = CircuitBreaker()
    _record(breaker, "." * 4 + "x" * 12)
    for ask in (breaker.check, breaker.enter):
        with pytest.raises(InfrastructureError, match=r"75% of the last 16 jobs .* the last error: disk full"):
            ask()


def test_old_jobs_leave_the_window(clock):
    breaker = CircuitBreaker()
    _record(breaker, "." * 200 + "x" * (WINDOW_JOBS // 2 - 1))
    assert breaker.state == "closed"
    _record(breaker, "x")
    assert breaker.state == "open"


def test_one_problem_among_several_cannot_open_it(clock):
    breaker = CircuitBreaker()
    for number in range(100):
        breaker.record("broken golden" if number % 4 else "sound", "" if number % 4 == 0 else "it", is_trial=False)
    assert breaker.state == "closed"


def test_the_only_problem_can_open_it(clock):
    breaker = CircuitBreaker()
    _record(breaker, "x" * MIN_JOBS, num_problems=1)
    assert breaker.state == "open"


def test_after_the_pause_one_trial_decides(clock):
    breaker = CircuitBreaker(pause_s=30.0)
    _record(breaker, "x" * MIN_JOBS)
    clock.now += 29.9
    with pytest.raises(InfrastructureError):
        breaker.enter()
    clock.now += 0.2
    breaker.check()
    assert breaker.enter()
    assert breaker.state == "half-open"
    with pytest.raises(InfrastructureError):  # nobody else meanwhile
        breaker.enter()
    breaker.record("p", "", is_trial=False)  # a late one from before says nothing
    assert breaker.state == "half-open"
    breaker.record("p", "still full", is_trial=True)
    with pytest.raises(InfrastructureError):
        breaker.check()
    clock.now += 30.1
    assert breaker.enter()
    breaker.record("p", "", is_trial=True)
    assert breaker.state == "closed"
    _record(breaker, "x" * (MIN_JOBS - 1))  # it starts afresh
    assert breaker.state == "closed"
