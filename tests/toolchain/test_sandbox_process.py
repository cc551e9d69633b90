"""The long-lived sandbox: jobs run there one after the other, and nothing of one is there for the next."""

import os
import subprocess
import sys
import time

import pytest

from toolchain.command import FolderJob, FolderResult, Limits, Step
from toolchain.errors import InfrastructureError
from toolchain.executor import LocalExecutor
from toolchain.sandbox import bubblewrap_problem
from toolchain.sandbox_process import SandboxProcess

_NEEDS_BUBBLEWRAP = pytest.mark.skipif(bubblewrap_problem() is not None, reason="bubblewrap does not work here")


def _shell(*scripts: str, limits: Limits = Limits(), collects=(), files=None) -> FolderJob:  # noqa: B008
    steps = tuple(Step(argv=("/bin/sh", "-c", script), limits=limits) for script in scripts)
    return FolderJob(files=files or {}, steps=steps, collects=collects)


@pytest.fixture(scope="module", params=["rlimits", pytest.param("bubblewrap", marks=_NEEDS_BUBBLEWRAP)])
def executor(request):
    made = LocalExecutor(isolation=request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def sandbox():
    made = SandboxProcess()
    yield made
    made.kill()


def _stdout(result: FolderResult) -> list[str]:
    return [step.stdout for step in result.results]


def test_steps_share_a_folder_with_the_files_and_those_asked_for_come_back(executor):
    job = _shell("cat in/a > b", "cat b; echo c > d", files={"in/a": "text \u00e9"}, collects=("b", "d", "absent"))
    result = executor.run_job(job)
    assert [step.returncode for step in result.results] == [0, 0]
    assert _stdout(result) == ["", "text \u00e9"]
    assert result.outputs == {"b": "text \u00e9", "d": "c\n"}


def test_a_step_that_fails_is_the_last(executor):
    result = executor.run_job(_shell("exit 0", "echo said; exit 3", "echo never"))
    assert [step.returncode for step in result.results] == [0, 3]


def test_a_link_is_not_followed_when_files_are_read_back(executor):
    assert executor.run_job(_shell("ln -s /usr/bin/env a; mkdir b; mkfifo c", collects=("a", "b", "c"))).outputs == {}


@pytest.mark.parametrize(
    ("script", "limits", "returncode"),
    [
        ("echo before; sleep 30", Limits(wall_s=0.4), -9),
        ("while :; do :; done", Limits(cpu_s=1), -24),
        ("kill -SEGV $$", Limits(), -11),
        ("trap 'echo passed' TERM; sleep 30", Limits(wall_s=0.4), -9),
    ],
)
def test_a_run_past_its_limits_ends_by_a_signal_and_the_next_job_runs(executor, script, limits, returncode):
    [step] = executor.run_job(_shell(script, limits=limits)).results
    assert step.returncode == returncode
    assert step.is_timed_out == (returncode == -9)
    assert "passed" not in step.stdout
    assert _stdout(executor.run_job(_shell("echo next"))) == ["next\n"]


def test_output_past_the_cap_is_dropped_and_ends_the_step(executor):
    [step] = executor.run_job(_shell("while :; do echo 0123456789; done", limits=Limits(output_bytes=1000))).results
    assert step.is_output_truncated
    assert len(step.stdout) == 1000


def test_limits_are_those_of_each_step_in_any_order(executor):
    sizes = (1300, 600, 900)
    steps = tuple(
        Step(argv=("/bin/sh", "-c", "ulimit -v; ulimit -f; ulimit -t"), limits=Limits(memory_bytes=m << 20, cpu_s=m))
        for m in sizes
    )
    said = _stdout(executor.run_job(FolderJob(files={}, steps=steps)))
    assert said == [f"{m << 10}\n{(64 << 20) // 512}\n{m}\n" for m in sizes]


def test_a_program_that_does_not_exist_is_told_by_the_exit_code(executor):
    [step] = executor.run_job(FolderJob(files={}, steps=(Step(argv=("/nonexistent/tool",), limits=Limits()),))).results
    assert step.returncode != 0
    assert "/nonexistent/tool" in step.stderr


@_NEEDS_BUBBLEWRAP
class TestNothingStays:
    """Between jobs of one sandbox."""

    def test_a_planted_file_process_and_fifo_are_not_there_for_the_next_job(self, sandbox):
        plant = (
            "echo secret > kept; echo secret > $TMPDIR/kept; mkfifo fifo $TMPDIR/fifo; mkdir $TMPDIR/deep; "
            "(while :; do echo alive > $TMPDIR/alive; sleep 0.05; done) & "
            "(setsid sleep 300 &) ; (trap '' TERM HUP INT; sleep 300) & echo $!; sleep 0.1; ls $TMPDIR"
        )
        [planted] = sandbox.run(_shell(plant)).results
        assert planted.returncode == 0
        assert "alive" in planted.stdout
        pid = planted.stdout.split()[0]
        time.sleep(0.1)
        look = f"kill -0 {pid} 2>/dev/null && echo alive; kill -9 -1 2>/dev/null && echo others; ls -A . $TMPDIR /tmp"
        assert _stdout(sandbox.run(_shell(look))) == [".:\n\n/job/tmp:\n\n/tmp:\n"]

    def test_nor_are_they_for_the_next_step_where_they_run(self, sandbox):
        result = sandbox.run(_shell("(sleep 0.2; echo late > late) & echo $!", "sleep 0.4; ls"))
        assert _stdout(result)[1] == ""

    def test_only_the_folder_can_be_written(self, sandbox):
        folders = "/ /usr /dev /etc /proc /root /tmp"
        script = f"for f in {folders}; do touch $f/planted 2>/dev/null && echo $f; done; echo end"
        assert _stdout(sandbox.run(_shell(script))) == ["end\n"]

    def test_a_folder_below_tmp_can_be_shown(self, tmp_path):
        shown = tmp_path / "shown"
        shown.mkdir(mode=0o755)
        shown.joinpath("tool").write_text("here\n")
        sandbox = SandboxProcess(read_only=(shown,))
        try:
            result = sandbox.run(_shell(f"cat {shown}/tool; touch {shown}/planted || echo no"))
        finally:
            sandbox.kill()
        assert _stdout(result) == ["here\nno\n"]

    def test_a_full_folder_is_the_jobs_own_trouble(self, sandbox):
        fill = "i=0; while head -c 50000000 /usr/bin/* > f$i 2>/dev/null; do i=$((i+1)); [ $i -gt 20 ] && break; done"
        [step] = sandbox.run(_shell(f"{fill}; echo $i")).results
        assert int(step.stdout) < 20
        assert _stdout(sandbox.run(_shell("head -c 1000000 /usr/bin/perl | wc -c"))) == ["1000000\n"]


@_NEEDS_BUBBLEWRAP
class TestInside:
    """What a program in the sandbox is and may do."""

    def test_it_is_nobody_special_sees_no_project_and_cannot_end_its_keeper(self, sandbox):
        script = "id -u; kill -9 1; kill -INT 1; ls /root /home /work 2>/dev/null | grep -v '^/' | grep -c . ; echo on"
        [step] = sandbox.run(_shell(script)).results
        uid, *_, last = step.stdout.split()
        assert uid != "0"
        assert last == "on"
        project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        assert _stdout(sandbox.run(_shell(f"test -e {project}/pyproject.toml && echo seen; echo end"))) == ["end\n"]

    def test_it_cannot_mount_or_make_namespaces(self, sandbox):
        script = (
            "unshare -U true && echo user; unshare -m true && echo mount; mount -t tmpfs x /tmp && echo tmpfs; echo"
        )
        assert _stdout(sandbox.run(_shell(script))) == ["\n"]

    def test_a_fork_bomb_stays_below_the_limit_of_processes(self, sandbox):
        script = "i=0; while [ $i -lt 200 ]; do (sleep 5) & i=$((i+1)); done; echo done"
        started = time.monotonic()
        [step] = sandbox.run(_shell(script, limits=Limits(processes=20, wall_s=20.0))).results
        assert "fork" in step.stderr.lower()
        assert time.monotonic() - started < 15
        assert _stdout(sandbox.run(_shell("echo next"))) == ["next\n"]


@_NEEDS_BUBBLEWRAP
def test_a_sandbox_that_dies_is_our_failure_and_the_next_job_gets_another():
    executor = LocalExecutor(isolation="bubblewrap")
    assert _stdout(executor.run_job(_shell("echo one"))) == ["one\n"]
    executor.close()
    assert _stdout(executor.run_job(_shell("echo two"))) == ["two\n"]
    sandbox = SandboxProcess()
    sandbox.kill()
    with pytest.raises(InfrastructureError, match="sandbox"):
        sandbox.run(_shell("echo three"))
    executor.close()


@_NEEDS_BUBBLEWRAP
def test_a_sandbox_under_a_lower_limit_of_its_parent_keeps_to_that():
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from toolchain.command import FolderJob, Limits, Step\n"
        "from toolchain.sandbox_process import SandboxProcess\n"
        "step = Step(argv=('/bin/sh', '-c', 'ulimit -v'), limits=Limits(memory_bytes=4 << 30))\n"
        "sandbox = SandboxProcess()\n"
        "print(sandbox.run(FolderJob(files={}, steps=(step, step))).results[1].stdout)\n"
        "sandbox.kill()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str((2 << 30) // 1024), done.stderr
