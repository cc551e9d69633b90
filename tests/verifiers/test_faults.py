"""Things that go wrong in mid-run, each injected for real: no job is lost or answered twice, no fault of ours scored.

What is injected: SIGKILL of a worker and of the farm's process, a hung simulator, an output flood, a memory bomb, a
full disk, truncated logs, a tool that vanishes, a slow disk, a damaged cache, double submission, a jump of the clock,
a burning or swelling worker, a worker that does not start.
"""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from toolchain.errors import InfrastructureError
from verifiers import breaker as breaker_module
from verifiers import slot as slot_module
from verifiers.farm import Farm
from verifiers.judgement import GROUP_JOB, GroupJob, Judgement, WorkerSettings
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle
from verifiers.worker_process import WorkerLost, WorkerProcess

pytestmark = pytest.mark.tool

_GOLDEN = "module TopModule(input [3:0] a, output y);\n  assign y = ^a;\nendmodule\n"
_WRONG = _GOLDEN.replace("^a", "|a")
_LOOP = "  wire loop;\n  assign #0 loop = ~(loop === 1'b1);\nendmodule"
_HANG = _GOLDEN.replace("endmodule", _LOOP)
_ENDLESS = "  generate for (genvar i = 0; i < 100000000; i = i + 1) begin : g\n  wire w;\n  end endgenerate\nendmodule"
_MEMORY_BOMB = _GOLDEN.replace("endmodule", _ENDLESS)
_PROBLEM = Problem(
    problem_id="parity",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=(Port(name="a", direction="input", width=4), Port(name="y", direction="output")),
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule", protocol=Protocol()),
)
_NUM_JOBS = 12


def _numbered(number: int) -> tuple[Problem, str, tuple[int, ...]]:
    """Job `number`: every third is wrong."""
    return _PROBLEM, (_WRONG if number % 3 == 0 else _GOLDEN) + f"// {number}\n", (1,)


def _expected(number: int) -> Outcome:
    return Outcome.MISMATCH if number % 3 == 0 else Outcome.PASSED


class _Wrappers:
    """Stand-ins for iverilog and vvp in a folder of their own: shell scripts that do something, then the real thing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "tools" / "bin"
        self.folder.mkdir(parents=True)
        self._real = {name: shutil.which(name) for name in ("iverilog", "vvp")}
        for name in self._real:
            self.write(name, "")
            monkeypatch.setenv(f"EARL_{name.upper()}", str(self.folder / name))

    def write(self, name: str, before: str) -> None:
        """`before` are lines of shell that run first, except when the tool is asked for its version."""
        path, new = self.folder / name, self.folder / f"{name}.new"
        guarded = f'case "$1" in -V) ;; *)\n{before}\n:;; esac' if before else ":"
        new.write_text(f'#!/bin/sh\n{guarded}\nexec {self._real[name]} "$@"\n')
        new.chmod(0o755)
        new.replace(path)


@pytest.fixture(autouse=True)
def quiet_host(monkeypatch):
    """What else this machine does makes no difference here."""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.fixture
def wrappers(tmp_path, monkeypatch):
    return _Wrappers(tmp_path, monkeypatch)


def _wait_for(condition, what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def _outcomes(judgements: list[Judgement]) -> list[Outcome]:
    return [judgement.verdict.outcome for judgement in judgements]


def test_workers_killed_in_mid_run_cost_no_job_and_no_verdict(tmp_path):
    with Farm(num_workers=2, isolation="rlimits", cache=tmp_path / "cache.db") as farm:
        futures = [farm.submit(*_numbered(number)) for number in range(_NUM_JOBS)]
        credits = Counter()
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: credits.update([number]))
        for slot in farm._slots:
            _wait_for(lambda slot=slot: slot.worker is not None, "a worker")
            os.kill(slot.worker.pid, signal.SIGKILL)
        outcomes = _outcomes([future.result(timeout=60) for future in futures])
        stats = farm.stats()
    assert outcomes == [_expected(number) for number in range(_NUM_JOBS)]
    assert credits == Counter(range(_NUM_JOBS))
    assert (stats.num_judged, stats.num_failed, stats.num_submitted) == (_NUM_JOBS, 0, _NUM_JOBS)
    assert stats.num_workers_started > 2


_FARM_PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from test_faults_jobs import PROBLEM, GOLDEN, HANG
from verifiers.farm import Farm
farm = Farm(num_workers=1, isolation="rlimits", cache=Path(sys.argv[2]))
print(farm.submit(PROBLEM, GOLDEN, (1,)).result().verdict.outcome, flush=True)
farm.submit(PROBLEM, HANG, (1,))
worker = farm._slots[0].worker
print(worker.pid, worker._scratch.path, flush=True)
farm.submit(PROBLEM, GOLDEN, (2,)).result()
"""


def test_a_killed_farm_leaves_no_process_or_folder_and_its_verdicts_are_kept(tmp_path):
    jobs = f"from verifiers.types import *\nGOLDEN = {_GOLDEN!r}\nHANG = {_HANG!r}\nPROBLEM = {_PROBLEM!r}\n"
    jobs = jobs.replace("<Outcome", "Outcome")
    tmp_path.joinpath("test_faults_jobs.py").write_text(jobs)
    argv = [sys.executable, "-c", _FARM_PROGRAM, str(tmp_path), str(tmp_path / "cache.db")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "passed\n"
        pid, scratch = program.stdout.readline().split()
        _wait_for(lambda: _children(int(pid)), "the simulator that hangs")
        simulators = _children(int(pid))
        program.kill()
    _wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the worker to end", seconds=10)
    _wait_for(lambda: not Path(scratch).exists(), "the scratch folder to go", seconds=10)
    _wait_for(lambda: not any(_is_running(child) for child in simulators), "the simulator to end", seconds=10)
    with Farm(num_workers=1, isolation="rlimits", cache=tmp_path / "cache.db", audit_fraction=0.0) as farm:
        assert farm.submit(_PROBLEM, _GOLDEN, (1,)).result().verdict.passed
        assert farm.stats().num_stored == 1


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_hung_simulation_is_the_candidates_also_when_it_hangs_alone():
    with Farm(num_workers=2, isolation="rlimits") as farm:
        other = dataclasses.replace(_PROBLEM, problem_id="other")
        judgements = farm.judge_all([(_PROBLEM, _HANG, (1,)), (other, _GOLDEN, (1,)), (other, _WRONG, (1,))])
        stats = farm.stats()
    assert _outcomes(judgements) == [Outcome.TIMEOUT, Outcome.PASSED, Outcome.MISMATCH]
    assert stats.num_reruns_alone <= 1


def test_a_simulator_that_hangs_for_everyone_is_ours(wrappers, tmp_path):
    wrappers.write("vvp", "sleep 600")
    with Farm(num_workers=1, isolation="rlimits", job_wall_s=1.0) as farm:
        verdict = farm.submit(*_numbered(1)).result(timeout=60).verdict
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "no answer within 1 s" in verdict.diagnostics[0].message


def test_a_time_out_beside_others_counts_only_when_it_repeats_alone(wrappers, tmp_path):
    # The first simulation that finds another one at work is killed as the CPU limit would do it.
    trap = tmp_path / "trap"
    wrappers.write("vvp", f"if mkdir {trap} 2>/dev/null; then sleep 1; kill -s XCPU $$; fi")
    other = dataclasses.replace(_PROBLEM, problem_id="other")
    with Farm(num_workers=2, isolation="rlimits") as farm:
        futures = [farm.submit(problem, _GOLDEN, (1,)) for problem in (_PROBLEM, other)]
        assert [future.result(timeout=60).verdict.outcome for future in futures] == [Outcome.PASSED] * 2
        assert farm.stats().outcomes == {"passed": 2}
    assert trap.exists()


@pytest.mark.parametrize(("load", "outcome"), [(0.0, Outcome.TIMEOUT), (1000.0, Outcome.PASSED)])
def test_a_time_out_on_a_busy_host_is_tried_again_also_by_a_single_worker(
    wrappers, tmp_path, monkeypatch, load, outcome
):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    trap = tmp_path / "trap"
    trap.mkdir()
    wrappers.write("vvp", f"mkdir {trap} 2>/dev/null && kill -s XCPU $$")
    with Farm(num_workers=1, isolation="rlimits") as farm:
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.passed  # the golden's trace is in memory now
        trap.rmdir()
        assert farm.submit(*_numbered(2)).result(timeout=60).verdict.outcome is outcome


def test_an_output_flood_is_cut_off_and_is_no_pass(wrappers):
    wrappers.write("vvp", "exec yes 0123456789012345678901234567890123456789")
    with Farm(num_workers=1, isolation="rlimits") as farm:
        verdict = farm.submit(*_numbered(1)).result(timeout=120).verdict
    assert verdict.outcome is Outcome.TOOL_ERROR  # the golden floods as well
    assert "resource limit" in verdict.diagnostics[0].message


def test_a_memory_bomb_is_the_candidates():
    with Farm(num_workers=1, isolation="rlimits") as farm:
        bomb, sound = farm.judge_all([(_PROBLEM, _MEMORY_BOMB, (1,)), _numbered(1)])
    assert bomb.verdict.outcome in (Outcome.RESOURCE_LIMIT, Outcome.ELABORATION_ERROR)
    assert sound.verdict.passed


def test_a_full_disk_is_ours_and_clears_up(wrappers, tmp_path):
    # What a program says and does that cannot write its output, as long as the disk is full.
    full = tmp_path / "full"
    wrappers.write("iverilog", f"if [ -e {full} ]; then echo 'design.vvp: No space left on device' >&2; exit 1; fi")
    with Farm(num_workers=1, isolation="rlimits", cache=tmp_path / "cache.db") as farm:
        full.touch()
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.outcome is Outcome.TOOL_ERROR
        full.unlink()
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.outcome is Outcome.PASSED
        assert farm.stats().num_stored == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_is_ours(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        monkeypatch.setattr("tempfile.tempdir", str(disk))
        with Farm(num_workers=1, isolation="rlimits") as farm:
            assert farm.submit(*_numbered(1)).result(timeout=60).verdict.passed
            disk.joinpath("filler").write_bytes(bytes(_free_bytes(disk)))
            assert farm.submit(*_numbered(2)).result(timeout=60).verdict.outcome is Outcome.TOOL_ERROR
            disk.joinpath("filler").unlink()
            assert farm.submit(*_numbered(2)).result(timeout=60).verdict.passed
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _free_bytes(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def test_logs_cut_short_are_ours_while_they_are_cut_for_the_golden_too(wrappers):
    real = shutil.which("vvp", path="/usr/local/bin:/usr/bin:/bin")
    wrappers.write("vvp", f'{real} "$@" | head -c 200; exit 0')
    with Farm(num_workers=1, isolation="rlimits") as farm:
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.outcome is Outcome.TOOL_ERROR
        wrappers.write("vvp", "")
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.outcome is Outcome.PASSED


def test_a_tool_that_vanishes_and_comes_back_credits_nothing_meanwhile(wrappers, tmp_path):
    with Farm(num_workers=1, isolation="rlimits", cache=tmp_path / "cache.db") as farm:
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.passed
        for name in ("iverilog", "vvp"):
            wrappers.folder.joinpath(name).rename(wrappers.folder / f"{name}.away")
        outcomes = _outcomes([farm.submit(*_numbered(number)).result(timeout=60) for number in range(2, 6)])
        assert outcomes == [Outcome.TOOL_ERROR] * 4
        for name in ("iverilog", "vvp"):
            wrappers.folder.joinpath(f"{name}.away").rename(wrappers.folder / name)
        judgements = farm.judge_all(map(_numbered, range(2, 6)))
    assert _outcomes(judgements) == [_expected(number) for number in range(2, 6)]


def test_a_lasting_fault_of_ours_opens_the_breaker_and_its_end_closes_it(wrappers, monkeypatch):
    monkeypatch.setattr(breaker_module, "MIN_JOBS", 4)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        farm._breaker._pause_s = 1.0
        wrappers.write("iverilog", "kill -s SEGV $$")
        for number in range(4):
            assert farm.submit(*_numbered(number)).result(timeout=60).verdict.outcome is Outcome.TOOL_ERROR
        with pytest.raises(InfrastructureError, match="100% of the last 4 jobs ended as tool errors"):
            farm.submit(*_numbered(5))
        assert farm.stats().breaker == "open"
        wrappers.write("iverilog", "")
        time.sleep(1.1)
        assert farm.submit(*_numbered(5)).result(timeout=60).verdict.passed
        assert farm.stats().breaker == "closed"
        assert farm.stats().tool_errors == {"parity": (4, 5)}


def test_a_crash_that_does_not_repeat_is_nobodys_loss(wrappers, tmp_path):
    trap = tmp_path / "trap"
    wrappers.write("vvp", f"mkdir {trap} 2>/dev/null && kill -s SEGV $$")
    with Farm(num_workers=1, isolation="rlimits") as farm:
        farm.submit(_PROBLEM, "no code", (1,)).result(timeout=60)
        trap.mkdir()
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.passed  # the golden's trace is in memory now
        trap.rmdir()
        assert farm.submit(*_numbered(2)).result(timeout=60).verdict.passed


def test_a_slow_disk_only_takes_its_time(wrappers):
    wrappers.write("iverilog", "sleep 0.3")
    wrappers.write("vvp", "sleep 0.3")
    with Farm(num_workers=2, isolation="rlimits") as farm:
        judgements = farm.judge_all(map(_numbered, range(4)))
    assert _outcomes(judgements) == [_expected(number) for number in range(4)]


def test_a_cache_damaged_in_mid_run_changes_no_verdict(tmp_path):
    path = tmp_path / "cache.db"
    with Farm(num_workers=2, isolation="rlimits", cache=path, audit_fraction=0.0) as farm:
        expected = [_expected(number) for number in range(6)]
        assert _outcomes(farm.judge_all(map(_numbered, range(6)))) == expected
        for garbage in (b"no database ", b"\xff"):
            for file in (path, Path(f"{path}-wal")):  # new entries are in the second, at first
                size = file.stat().st_size
                with file.open("r+b") as opened:
                    opened.write((garbage * size)[:size])
            assert _outcomes(farm.judge_all(map(_numbered, range(6)))) == expected
        assert farm.stats().num_cache_faults > 0
        path.unlink()
        assert _outcomes(farm.judge_all(map(_numbered, range(6)))) == expected


def test_the_same_submitted_many_times_is_judged_once_and_answered_to_all():
    with Farm(num_workers=2, isolation="rlimits") as farm:
        farm.submit(*_numbered(0))
        futures = [farm.submit(*_numbered(1)) for _ in range(50)]
        assert len({id(future) for future in futures}) == 1
        assert futures[0].result(timeout=60).verdict.passed
        assert not futures[0].cancel()
        stats = farm.stats()
    assert (stats.num_submitted, stats.num_shared) == (51, 49)


def test_a_clock_that_jumps_moves_no_deadline(monkeypatch):
    now = time.time
    with Farm(num_workers=1, isolation="rlimits", job_wall_s=20.0) as farm:
        for jump_s in (-10_000_000.0, 10_000_000.0):
            monkeypatch.setattr(time, "time", lambda jump_s=jump_s: now() + jump_s)
            verdict = farm.submit(_PROBLEM, _GOLDEN + f"// {jump_s}", (1,)).result(timeout=60).verdict
            assert verdict.passed
            assert 0 <= verdict.duration_s < 20


_GUARDED = """
import sys
from verifiers import worker
worker.STATIC_CPU_S, worker.MEMORY_BYTES = 1.0, 1 << 30
class Judge:
    def __init__(self, *arguments, **options): pass
    def answer(self, job):
        while job.completion_texts[0] == "burn":
            pass
        bytearray(2 << 30)
worker.GroupJudge = Judge
worker.main()
"""


@pytest.mark.parametrize(("text", "returncode", "said"), [("burn", -signal.SIGPROF, ""), ("swell", 1, "MemoryError")])
def test_a_worker_that_burns_or_swells_ends_itself(tmp_path, text, returncode, said):
    """Code that never comes back to the interpreter's loop cannot be asked to stop; the kernel stops it."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-c", _GUARDED, '{"isolation": "rlimits"}', str(tmp_path)]
    with ours, subprocess.Popen(argv, stdin=theirs, stderr=subprocess.PIPE, text=True) as worker:
        theirs.close()
        ours.settimeout(60)
        assert ours.recv(100) == b"ready\n"
        ours.sendall(GROUP_JOB.dump_json(GroupJob(problem=_PROBLEM, completion_texts=(text,), seeds=(1,))) + b"\n")
        _, stderr = worker.communicate(timeout=60)
    assert worker.returncode == returncode
    assert said in stderr


def test_a_worker_that_does_not_start_is_ours(monkeypatch):
    starts = []

    class Unborn:
        def __init__(self, settings: WorkerSettings) -> None:
            starts.append(settings)
            raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(slot_module, "START_PAUSE_S", 0.01)
    monkeypatch.setattr(slot_module, "WorkerProcess", Unborn)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        verdict = farm.submit(*_numbered(1)).result(timeout=60).verdict
        assert verdict.outcome is Outcome.TOOL_ERROR
        assert "in 3 tries: Resource temporarily unavailable" in verdict.diagnostics[0].message
        monkeypatch.setattr(slot_module, "WorkerProcess", WorkerProcess)
        assert farm.submit(*_numbered(1)).result(timeout=60).verdict.passed
    assert len(starts) == 6  # for the job, and for its second try alone


def test_the_member_of_a_group_that_kills_workers_takes_no_other_along(monkeypatch):
    class Mortal:
        def __init__(self, settings: WorkerSettings) -> None: ...

        def await_ready(self, *, wall_s: float) -> None: ...

        def ask(self, line: bytes, *, wall_s: float) -> bytes:
            job = GROUP_JOB.validate_json(line)
            if "poison" in job.completion_texts:
                raise WorkerLost("died")
            answer = b'{"judgement":{"candidate":null,"verdict":{"outcome":"passed","stage":"compare","seed":1}}}'
            return b'{"answers":[' + b",".join([answer] * max(1, len(job.completion_texts))) + b"]}"

        def interrupt(self) -> None: ...

        def kill(self) -> None: ...

    monkeypatch.setattr(slot_module, "WorkerProcess", Mortal)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        texts = ["a", "b", "poison", "c"]
        judgements = farm.judge_all([(_PROBLEM, text, (1,)) for text in texts])
        stats = farm.stats()
    passed = Outcome.PASSED
    assert _outcomes(judgements) == [passed, passed, Outcome.RESOURCE_LIMIT, passed]
    assert stats.num_judged == 4
