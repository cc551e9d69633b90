"""The probes report `broken` where nothing holds an attempt back, what each rung promises, and no attempt not made."""

import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from toolchain.command import CommandResult, Limits
from toolchain.errors import InfrastructureError
from toolchain.executor import LocalExecutor
from toolchain.isolation_probe import HELD_BY_RLIMITS, PROBE_NAMES, Probe, probe_isolation, python_prefix, run_of
from toolchain.sandbox import bubblewrap_problem

LIMITS = Limits(memory_bytes=512 << 20, output_bytes=1 << 20, processes=16)


def run_openly(argv: tuple[str, ...], limits: Limits) -> CommandResult:
    """No isolation and no limit but the end of this test's patience: what every probe must report as broken."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
    ):
        text = process.stdout.read(8 * limits.output_bytes).decode()
        process.kill()
    return CommandResult(returncode=process.returncode, stdout=text, stderr="", duration_s=time.monotonic() - started)


run_on_rlimits = run_of(LocalExecutor(isolation="rlimits"))


@pytest.fixture(scope="module")
def open_probes() -> dict[str, Probe]:
    return {probe.name: probe for probe in probe_isolation(run_openly, LIMITS)}


@pytest.fixture(scope="module")
def rlimits_probes() -> dict[str, Probe]:
    return {probe.name: probe for probe in probe_isolation(run_on_rlimits, LIMITS)}


@pytest.mark.parametrize("name", PROBE_NAMES)
def test_without_isolation_every_attempt_succeeds(open_probes, name):
    assert not open_probes[name].is_held, open_probes[name].finding


@pytest.mark.parametrize("name", HELD_BY_RLIMITS)
def test_rlimits_hold_memory_and_output(rlimits_probes, name):
    assert rlimits_probes[name].is_held, rlimits_probes[name].finding


@pytest.mark.parametrize("name", [name for name in PROBE_NAMES if name not in HELD_BY_RLIMITS])
def test_rlimits_alone_are_reported_broken(rlimits_probes, name):
    assert not rlimits_probes[name].is_held, rlimits_probes[name].finding


@pytest.mark.skipif(bubblewrap_problem() is not None, reason="bubblewrap does not work here")
def test_the_sandbox_of_candidates_holds_every_attempt():
    executor = LocalExecutor(isolation="bubblewrap", read_only=(python_prefix(),))
    try:
        probes = probe_isolation(run_of(executor), LIMITS)
    finally:
        executor.close()
    assert [(probe.name, probe.finding) for probe in probes if not probe.is_held] == []
    assert tuple(probe.name for probe in probes) == PROBE_NAMES


def test_an_attempt_that_could_not_be_made_is_an_error_and_never_held():
    def refuse(argv: tuple[str, ...], limits: Limits) -> CommandResult:
        return CommandResult(returncode=127, stdout="", stderr="no such file", duration_s=0.0)

    with pytest.raises(InfrastructureError, match=r"could not be made.*127.*no such file"):
        probe_isolation(refuse, LIMITS)


def test_a_limit_too_wide_is_reported_by_its_own_probe_and_no_file_is_left():
    printed: list[str] = []

    def run_with_more(argv: tuple[str, ...], limits: Limits) -> CommandResult:
        result = run_on_rlimits(argv, replace(limits, memory_bytes=2 * limits.memory_bytes))
        printed.extend(result.stdout.splitlines())
        return result

    probes = {probe.name: probe for probe in probe_isolation(run_with_more, LIMITS, ("exceed_memory", "fill_disk"))}
    assert not probes["exceed_memory"].is_held
    written = [Path(line.removeprefix("file ")) for line in printed if line.startswith("file ")]
    assert len(written) == 5  # four times what one file may hold, and one more
    assert not any(path.exists() for path in written)
