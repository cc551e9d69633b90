"""Running commands: every limit holds, nothing is left behind, and the sandbox hides what it should."""

import os
import threading
import time
from pathlib import Path

import pytest

from toolchain.command import Command, CommandResult, Limits
from toolchain.errors import InfrastructureError, UsageError
from toolchain.executor import LocalExecutor
from toolchain.sandbox import bubblewrap_problem, choose_rung

_RUNGS = [
    "rlimits",
    pytest.param(
        "bubblewrap", marks=pytest.mark.skipif(bubblewrap_problem() is not None, reason="bubblewrap does not work here")
    ),
]


@pytest.fixture(params=_RUNGS)
def executor(request) -> LocalExecutor:
    return LocalExecutor(isolation=request.param)


def _shell(executor: LocalExecutor, folder: Path, script: str, limits: Limits = Limits()) -> CommandResult:  # noqa: B008
    return executor.run(Command(argv=("/bin/sh", "-c", script), cwd=folder, limits=limits))


def test_output_and_exit_code_come_back(executor, tmp_path):
    result = _shell(executor, tmp_path, "echo out; echo err >&2; exit 3")
    assert (result.returncode, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert not result.is_timed_out
    assert not result.is_output_truncated


def test_the_folder_of_the_command_can_be_written(executor, tmp_path):
    assert _shell(executor, tmp_path, "echo hello > note").returncode == 0
    assert (tmp_path / "note").read_text() == "hello\n"


def test_a_signal_is_a_negative_exit_code_on_every_rung(executor, tmp_path):
    assert _shell(executor, tmp_path, "kill -SEGV $$").returncode == -11


def test_the_wall_limit_kills_a_sleeper(executor, tmp_path):
    result = _shell(executor, tmp_path, "echo before; sleep 30", Limits(wall_s=0.5))
    assert result.is_timed_out
    assert result.returncode == -9
    assert result.stdout == "before\n"
    assert result.duration_s < 5


def test_a_handler_for_sigterm_gets_no_chance_to_print(executor, tmp_path):
    result = _shell(executor, tmp_path, "trap 'echo passed' TERM; while :; do sleep 0.1; done", Limits(wall_s=0.5))
    assert "passed" not in result.stdout


def test_the_cpu_limit_ends_a_busy_loop(executor, tmp_path):
    result = _shell(executor, tmp_path, "while :; do :; done", Limits(cpu_s=1, wall_s=30))
    assert result.returncode == -24  # SIGXCPU
    assert not result.is_timed_out


def test_output_past_the_cap_is_dropped_and_ends_the_run(executor, tmp_path):
    result = _shell(executor, tmp_path, "while :; do echo 0123456789; done", Limits(output_bytes=1000))
    assert result.is_output_truncated
    assert len(result.stdout) == 1000
    assert result.duration_s < 5


def test_the_cap_holds_for_both_streams_together(executor, tmp_path):
    result = _shell(executor, tmp_path, "printf 0123456789; printf abcdefghij >&2", Limits(output_bytes=15))
    assert len(result.stdout) + len(result.stderr) == 15
    assert result.is_output_truncated


def test_output_of_exactly_the_cap_is_whole(executor, tmp_path):
    result = _shell(executor, tmp_path, "printf 0123456789", Limits(output_bytes=10))
    assert (result.stdout, result.is_output_truncated, result.returncode) == ("0123456789", False, 0)


def test_the_file_size_limit_holds(executor, tmp_path):
    _shell(executor, tmp_path, "head -c 100000 /usr/bin/env > big || true", Limits(file_bytes=4096))
    assert (tmp_path / "big").stat().st_size <= 4096


def test_the_memory_limit_holds(executor, tmp_path):
    result = _shell(executor, tmp_path, "/usr/bin/perl -e '$x = \"a\" x 300000000; print length $x'", Limits())
    small = _shell(
        executor, tmp_path, "/usr/bin/perl -e '$x = \"a\" x 300000000; print 1'", Limits(memory_bytes=200 << 20)
    )
    assert result.stdout == "300000000"
    assert small.stdout == ""
    assert small.returncode != 0


def test_a_child_left_in_the_background_is_killed(executor, tmp_path):
    result = _shell(executor, tmp_path, "(sleep 0.4; echo late > late) & echo done")
    assert result.stdout == "done\n"
    assert result.duration_s < 0.4
    time.sleep(0.6)
    assert not (tmp_path / "late").exists()


def test_our_environment_does_not_reach_the_command(executor, tmp_path, monkeypatch):
    monkeypatch.setenv("EARL_TEST_TOKEN", "secret-4711")
    assert "secret-4711" not in _shell(executor, tmp_path, "env").stdout


def test_no_descriptor_is_left_open(executor, tmp_path):
    _shell(executor, tmp_path, "true")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        _shell(executor, tmp_path, "true")
    assert len(os.listdir("/proc/self/fd")) == before


def test_several_threads_can_run_commands_at_once(executor, tmp_path):
    results: dict[int, str] = {}

    def run(number: int) -> None:
        results[number] = _shell(executor, tmp_path, f"echo {number}").stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: f"{number}\n" for number in range(6)}


def test_a_program_that_does_not_exist_is_told_by_the_exit_code(executor, tmp_path):
    result = executor.run(Command(argv=("/nonexistent/tool",), cwd=tmp_path))
    assert result.returncode != 0
    assert "/nonexistent/tool" in result.stderr


def test_a_folder_that_does_not_exist_is_our_failure(tmp_path):
    with pytest.raises(InfrastructureError, match="could not start"):
        LocalExecutor(isolation="rlimits").run(Command(argv=("/bin/true",), cwd=tmp_path / "absent"))


def test_an_unknown_isolation_is_a_usage_error():
    with pytest.raises(UsageError, match="bubblewrap or rlimits"):
        choose_rung("docker")


@pytest.mark.skipif(bubblewrap_problem() is not None, reason="bubblewrap does not work here")
class TestBubblewrap:
    """What the strongest rung hides."""

    @pytest.fixture
    def sandbox(self) -> LocalExecutor:
        return LocalExecutor(isolation="bubblewrap")

    def test_neighbouring_folders_and_the_project_are_invisible(self, sandbox, tmp_path):
        job, golden = tmp_path / "job", tmp_path / "golden"
        job.mkdir()
        golden.mkdir()
        (golden / "golden.v").write_text("module golden; endmodule")
        project = Path(__file__).parents[2]
        for hidden in (golden / "golden.v", project, Path.home(), Path("/proc"), Path("/etc/passwd")):
            assert hidden.exists()
            result = _shell(sandbox, job, f"test -e {hidden} && echo seen")
            assert result.stdout == "", hidden

    def test_system_folders_cannot_be_written(self, sandbox, tmp_path):
        assert _shell(sandbox, tmp_path, "echo x > /usr/bin/earl-test-file").returncode != 0
        assert not Path("/usr/bin/earl-test-file").exists()

    def test_tmp_is_private(self, sandbox, tmp_path):
        name = f"/tmp/earl-private-{os.getpid()}"
        assert _shell(sandbox, tmp_path, f"echo x > {name} && cat {name}").stdout == "x\n"
        assert not Path(name).exists()

    def test_there_is_no_network(self, sandbox, tmp_path):
        script = 'use IO::Socket::INET; print IO::Socket::INET->new("127.0.0.1:9") ? "up" : $!'
        result = sandbox.run(Command(argv=("/usr/bin/perl", "-e", script), cwd=tmp_path))
        assert "up" not in result.stdout
        # by the system-call filter, by the namespace
        assert any(word in result.stdout for word in ("not permitted", "nreachable", "refused"))

    def test_the_process_limit_is_set_inside(self, sandbox, tmp_path):
        # The kernel holds everybody to it but root, who may be running this test: so the setting is what is read.
        assert _shell(sandbox, tmp_path, "ulimit -p", Limits(processes=6)).stdout == "6\n"
