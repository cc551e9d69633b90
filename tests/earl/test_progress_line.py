"""The plain lines of a long job: what they say of the time left."""

import io

import pytest
from rich.console import Console

import earl.metrics
from earl.metrics import ProgressLine


@pytest.fixture
def show(monkeypatch):
    """Gives updates at times to a line that prints each, and returns the lines."""

    def run(*updates: tuple[float, int, int]) -> list[str]:
        now = [100.0]
        monkeypatch.setattr(earl.metrics.time, "monotonic", lambda: now[0])
        out = io.StringIO()
        line = ProgressLine(Console(file=out, width=200), "sample")
        for at, done, total in updates:
            now[0] = 100.0 + at
            line.update(done, total, "x")
        return out.getvalue().splitlines()

    return run


def test_steps_that_end_one_by_one_are_timed_from_the_start(show):
    assert show((20.0, 1, 4), (40.0, 2, 4), (80.0, 4, 4)) == [
        "sample 1/4  x  60 s left",
        "sample 2/4  x  40 s left",
        "sample 4/4  x  done",
    ]


def test_batches_are_timed_from_the_start_where_that_was_told(show):
    """128 samples in 40 s, out of 256: 40 s are left, not 128 times as much."""
    assert show((0.0, 0, 256), (40.0, 128, 256))[-1] == "sample 128/256  x  40 s left"


def test_a_resumed_job_is_timed_by_what_it_did_itself(show):
    assert show((0.0, 100, 400), (50.0, 200, 400))[-1] == "sample 200/400  x  100 s left"
    assert show((20.0, 51, 100), (40.0, 52, 100)) == ["sample 51/100  x", "sample 52/100  x  960 s left"]
