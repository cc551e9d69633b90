"""The argv of a container, the protocol with its first process, and, where an engine is there, the real thing."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from toolchain.command import Command, FolderJob, Limits, Step
from toolchain.container_executor import ENGINE_VARIABLE, ContainerExecutor, container_executor
from toolchain.container_job import read_job
from toolchain.errors import InfrastructureError, UsageError
from toolchain.executor import LocalExecutor, open_executor
from toolchain.isolation_probe import probe_isolation, run_of
from toolchain.sandbox import choose_rung

ROOT = Path(__file__).parents[2]
LIMITS = Limits(memory_bytes=512 << 20, processes=16, wall_s=5.0)
JOB = FolderJob(
    files={"note": "hello\n", "sub/other": "x"},
    steps=(
        Step(argv=("/bin/cat", "note"), limits=LIMITS, env={"NAME": "value"}),
        Step(argv=("/bin/sh", "-c", "echo $NAME > made; ls; exit 3"), limits=LIMITS),
        Step(argv=("/bin/echo", "never"), limits=LIMITS),
    ),
    collects=("made", "absent"),
)
# Stands in for docker: runs the container's first process here, without a container, and logs how it was called.
FAKE = """#!{python}
import json, subprocess, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "run":
    start = sys.argv[-1].replace("/mnt/earl", {root!r})
    sys.exit(subprocess.run([{python!r}, "-I", "-S", "-c", start]).returncode)
"""


@pytest.fixture
def fake(tmp_path):
    """A fake engine and the calls that it has had."""
    engine, log = tmp_path / "engine", tmp_path / "log"
    engine.write_text(FAKE.format(python=sys.executable, log=str(log), root=str(ROOT)))
    engine.chmod(0o755)
    return (str(engine),), lambda: [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def executor(fake):
    made = ContainerExecutor(engine=fake[0], image="an-image", read_only=(Path("/opt/tools"), Path("/usr/share")))
    yield made
    made.close()


def value_of(argv, option):
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_a_job_goes_in_and_its_results_come_back(executor):
    result = executor.run_job(JOB)
    assert [step.returncode for step in result.results] == [0, 3]
    assert result.results[0].stdout == "hello\n"
    assert result.results[1].stdout == "made\nnote\nsub\n"
    assert result.outputs == {"made": "\n"}  # the variable belonged to the step before


def test_a_job_survives_the_wire():
    assert read_job(json.dumps(asdict(JOB))) == JOB


def test_the_container_is_given_nothing_that_it_does_not_need(executor):
    argv = list(executor.argv("a-name", JOB))
    assert argv[1:3] == ["run", "--rm"]
    for flag in ("--read-only", "--interactive"):
        assert flag in argv
    assert value_of(argv, "--network") == ["none"]
    assert value_of(argv, "--ipc") == ["none"]
    assert value_of(argv, "--cap-drop") == ["ALL"]
    assert value_of(argv, "--security-opt") == ["no-new-privileges"]
    assert value_of(argv, "--user") == ["65534:65534"]
    assert value_of(argv, "--pull") == ["never"]
    assert value_of(argv, "--pids-limit") == ["17"]  # 16 and the first process
    memory = str((512 + 256 + 64) << 20)  # the limit, the folder, the first process
    assert value_of(argv, "--memory") == value_of(argv, "--memory-swap") == [memory]
    assert "size=268435456" in value_of(argv, "--tmpfs")[-1]
    assert all(volume.endswith(":ro") for volume in value_of(argv, "--volume"))
    assert "an-image" in argv


def test_tools_are_shown_below_parents_that_anybody_may_pass(executor):
    volumes = value_of(list(executor.argv("a-name", JOB)), "--volume")
    assert "/opt/tools:/opt/tools:ro" in volumes
    assert "/usr:/usr:ro" in volumes
    assert not any(volume.startswith("/usr/share") for volume in volumes)  # in /usr already
    [skeleton] = [Path(volume.split(":")[0]) for volume in volumes if volume.endswith(":/opt:ro")]
    assert (skeleton / "tools").is_dir()
    assert stat.S_IMODE(skeleton.stat().st_mode) == 0o755


def test_each_job_has_a_container_of_its_own(executor, fake):
    executor.run_job(JOB)
    calls = fake[1]()
    assert [call[:2] for call in calls] == [["run", "--rm"]] * 2  # the trial, the job
    assert len({value_of(call, "--name")[0] for call in calls}) == 2


def test_a_container_that_does_not_end_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("toolchain.container_executor._START_WALL_S", 0.5)
    engine, log = tmp_path / "engine", tmp_path / "log"
    engine.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = rm ] || exec sleep 20\n')
    engine.chmod(0o755)
    with pytest.raises(InfrastructureError, match=r"did not end within 0\.5 s and was removed"):
        ContainerExecutor(engine=(str(engine),), image="an-image")
    run, remove = log.read_text().splitlines()
    assert remove == f"rm --force {value_of(run.split(), '--name')[0]}"


def test_an_engine_that_gives_no_result_is_our_failure(tmp_path):
    engine = tmp_path / "engine"
    engine.write_text("#!/bin/sh\necho no such image >&2\nexit 125\n")
    engine.chmod(0o755)
    with pytest.raises(InfrastructureError, match=r"ended with 125: no such image\. EARL_CONTAINER_IMAGE must name"):
        ContainerExecutor(engine=(str(engine),), image="absent")


def test_an_engine_that_is_not_there_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setenv(ENGINE_VARIABLE, "/nonexistent/docker")
    with pytest.raises(InfrastructureError, match=r"/nonexistent/docker could not be started.*EARL_CONTAINER_ENGINE"):
        open_executor(isolation="container")


def test_containers_are_for_jobs_and_never_chosen_by_themselves(executor, tmp_path):
    with pytest.raises(InfrastructureError, match="use run_job"):
        executor.run(Command(argv=("/bin/true",), cwd=tmp_path))
    with pytest.raises(UsageError, match="use bubblewrap"):
        LocalExecutor(isolation="container")
    assert choose_rung("container") == "container"
    assert choose_rung("auto") != "container"


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get(ENGINE_VARIABLE, "docker").split()[0]) is None
    or subprocess.run([*os.environ.get(ENGINE_VARIABLE, "docker").split(), "info"], capture_output=True).returncode
    != 0,
    reason="no container engine answers; name one by EARL_CONTAINER_ENGINE",
)
def test_a_real_container_holds_every_attempt():
    executor = container_executor()
    try:
        assert executor.run_job(JOB).results[0].stdout == "hello\n"
        probes = probe_isolation(run_of(executor), Limits(memory_bytes=512 << 20))
    finally:
        executor.close()
    assert [(probe.name, probe.finding) for probe in probes if not probe.is_held] == []
