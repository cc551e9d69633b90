"""The farm: many jobs, workers that die or hang, and nothing left behind."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from toolchain.errors import InfrastructureError, UsageError
from verifiers import slot as slot_module
from verifiers.farm import Farm
from verifiers.judgement import GROUP_JOB, JUDGEMENT, GroupJob, WorkerSettings
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle
from verifiers.worker_process import WorkerLost, WorkerProcess

pytestmark = pytest.mark.tool

_GOLDEN = "module TopModule(input [3:0] a, output y);\n  assign y = ^a;\nendmodule\n"
_PORTS = (Port(name="a", direction="input", width=4), Port(name="y", direction="output"))
_HANG = _GOLDEN.replace("endmodule", "  wire loop;\n  assign #0 loop = ~(loop === 1'b1);\nendmodule")
_PROBLEM = Problem(
    problem_id="parity",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=_PORTS,
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule", protocol=Protocol()),
)


@pytest.fixture(scope="module")
def farm():
    with Farm(num_workers=2, isolation="rlimits") as opened:
        yield opened


def _worker(farm: Farm, slot: int = 0) -> WorkerProcess:
    deadline = time.monotonic() + 20
    while farm._slots[slot].worker is None:
        assert time.monotonic() < deadline, "no worker was started"
        time.sleep(0.01)
    return farm._slots[slot].worker


def test_judgements_come_back_in_the_order_of_the_jobs(farm):
    texts = [_GOLDEN, _GOLDEN.replace("^a", "|a"), "no code here", _GOLDEN.replace(";", "", 1)] * 3
    done: list[tuple[int, int]] = []
    jobs = [(_PROBLEM, text, (seed,)) for seed, text in enumerate(texts)]
    judgements = farm.judge_all(jobs, progress=lambda num_done, num_jobs: done.append((num_done, num_jobs)))
    expected = [Outcome.PASSED, Outcome.MISMATCH, Outcome.NO_CODE, Outcome.SYNTAX_ERROR] * 3
    assert [judgement.verdict.outcome for judgement in judgements] == expected
    assert [judgement.verdict.seed for judgement in judgements] == list(range(12))
    assert done == [(number, 12) for number in range(1, 13)]


def test_a_judgement_survives_the_wire_whole(farm):
    judgement = farm.submit(_PROBLEM, _GOLDEN.replace("^a", "&a"), (2**62 + 1,)).result()
    assert judgement.verdict.seed == 2**62 + 1
    assert judgement.verdict.outputs[0].num_mismatches == judgement.verdict.num_mismatches
    assert judgement.verdict.first_mismatch.inputs[-1].keys() == {"a"}
    assert JUDGEMENT.validate_json(JUDGEMENT.dump_json(judgement)) == judgement
    job = GroupJob(problem=_PROBLEM, completion_texts=('line\n"quoted" \u2028 \x00', ""), seeds=(1, 2))
    assert GROUP_JOB.validate_json(GROUP_JOB.dump_json(job)) == job
    assert b"\n" not in GROUP_JOB.dump_json(job)


def test_a_worker_holds_no_torch(tmp_path):
    # The modules that a worker has loaded are read off the files that it has mapped.
    worker = WorkerProcess(WorkerSettings(isolation="rlimits"))
    try:
        worker.await_ready(wall_s=30)
        worker.ask(GROUP_JOB.dump_json(GroupJob(problem=_PROBLEM, completion_texts=(_GOLDEN,), seeds=(1,))), wall_s=30)
        mapped = Path(f"/proc/{worker.pid}/maps").read_text()
    finally:
        worker.kill()
    assert "pyslang" in mapped
    assert "torch" not in mapped


def test_equal_jobs_under_way_share_one_future():
    with Farm(num_workers=1, isolation="rlimits") as farm:
        blocker = farm.submit(_PROBLEM, _GOLDEN + "// first", (1,))
        first, second = (farm.submit(_PROBLEM, _GOLDEN, (1,)) for _ in range(2))
        other = farm.submit(_PROBLEM, _GOLDEN, (2,))
        assert first is second
        assert first is not other
        assert blocker.result().verdict.passed
        assert first.result().verdict.passed
        again = farm.submit(_PROBLEM, _GOLDEN, (1,))
        assert again.result().verdict.passed
        assert again is not first  # not under way any more


def test_a_dead_worker_is_replaced_and_the_job_is_not_lost():
    with Farm(num_workers=1, isolation="rlimits") as farm:
        assert farm.submit(_PROBLEM, _GOLDEN, (1,)).result().verdict.passed
        pid = _worker(farm).pid
        os.kill(pid, signal.SIGKILL)
        assert farm.submit(_PROBLEM, _GOLDEN, (2,)).result().verdict.passed
        assert _worker(farm).pid != pid


class _MortalWorker:
    """A worker that dies of each job with a poisoned text, and otherwise says that all is well."""

    poisons: tuple[str, ...] = ("poison",)  # the text of the golden's job is "golden"

    def __init__(self, settings: WorkerSettings) -> None: ...

    def ask(self, line: bytes, *, wall_s: float) -> bytes:
        texts = json.loads(line)["completion_texts"] or ["golden"]
        for text in texts:
            if text in self.poisons:
                raise WorkerLost(f"died of {text}")
        verdict = {"outcome": "passed", "stage": "compare", "seed": 1}
        return json.dumps({"answers": [{"judgement": {"candidate": None, "verdict": verdict}}] * len(texts)}).encode()

    def await_ready(self, *, wall_s: float) -> None: ...

    def interrupt(self) -> None: ...

    def kill(self) -> None: ...


def test_a_job_that_kills_two_workers_while_the_golden_runs_is_the_candidates(monkeypatch):
    monkeypatch.setattr(slot_module, "WorkerProcess", _MortalWorker)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        verdict = farm.submit(_PROBLEM, "poison", (3,)).result().verdict
    assert (verdict.outcome, verdict.seed) == (Outcome.RESOURCE_LIMIT, 3)
    assert "died of poison; then, in a fresh worker: died of poison" in verdict.diagnostics[0].message


def test_a_job_whose_golden_kills_the_worker_too_is_ours(monkeypatch):
    monkeypatch.setattr(_MortalWorker, "poisons", ("poison", "golden"))
    monkeypatch.setattr(slot_module, "WorkerProcess", _MortalWorker)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        assert farm.submit(_PROBLEM, "poison", (3,)).result().verdict.outcome is Outcome.TOOL_ERROR


def test_a_worker_is_replaced_after_its_number_of_jobs(monkeypatch):
    monkeypatch.setattr(slot_module, "RUNS_PER_WORKER", 2)
    with Farm(num_workers=1, isolation="rlimits") as farm:
        pids = []
        for seed in range(5):
            farm.submit(_PROBLEM, _GOLDEN, (seed,)).result()
            pids.append(_worker(farm).pid)
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_a_worker_that_hangs_is_killed_with_its_simulator_at_the_deadline():
    worker = WorkerProcess(WorkerSettings(isolation="rlimits"))
    line = GROUP_JOB.dump_json(GroupJob(problem=_PROBLEM, completion_texts=(_HANG,), seeds=(1,)))
    worker.await_ready(wall_s=30)
    with pytest.raises(WorkerLost, match=r"no answer within 1\.5 s"):
        worker.ask(line, wall_s=1.5)
    worker.kill()
    assert not Path(f"/proc/{worker.pid}").exists()
    assert not worker._scratch.path.exists()
    # What it had started is found by the scratch folder that it runs in.
    running = [Path(entry) / "cwd" for entry in Path("/proc").glob("[0-9]*")]
    assert not any(str(worker._scratch.path) in _target(link) for link in running)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # the process has ended meanwhile, or is not ours
        return ""


def test_the_end_of_a_dead_workers_log_is_in_the_message():
    worker = WorkerProcess(WorkerSettings(isolation="no such rung"))
    with pytest.raises(WorkerLost, match=r"(?s)exit code 1.*no such rung"):
        worker.await_ready(wall_s=30)


def test_closing_fails_what_is_not_judged_and_leaves_no_process_or_folder():
    farm = Farm(num_workers=1, isolation="rlimits")
    running = farm.submit(_PROBLEM, _HANG, (1,))
    waiting = farm.submit(_PROBLEM, _GOLDEN, (1,))
    worker = _worker(farm)
    time.sleep(0.5)
    started = time.monotonic()
    farm.close()
    assert time.monotonic() - started < 3
    assert not Path(f"/proc/{worker.pid}").exists()
    assert not worker._scratch.path.exists()
    for future in (running, waiting):
        assert isinstance(future.exception(), InfrastructureError)
    with pytest.raises(InfrastructureError, match="closed"):
        farm.submit(_PROBLEM, _GOLDEN, (1,))
    farm.close()


def test_several_threads_can_submit_at_once(farm):
    outcomes = []

    def submit(number: int) -> None:
        outcomes.append(farm.submit(_PROBLEM, _GOLDEN + f"// {number}\n", (number,)).result().verdict.outcome)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [Outcome.PASSED] * 6


@pytest.mark.parametrize("arguments", [{"num_workers": 0}, {"job_wall_s": 0.0}, {"isolation": "docker"}])
def test_senseless_settings_are_refused(arguments):
    with pytest.raises(UsageError):
        Farm(**arguments)


def test_text_that_no_wire_can_carry_is_judged_too(farm):
    assert farm.submit(_PROBLEM, _GOLDEN + "// \ud800", (1,)).result().verdict.is_scored


def test_a_job_without_seeds_is_refused(farm):
    with pytest.raises(UsageError, match="at least one seed"):
        farm.submit(_PROBLEM, _GOLDEN, ())
