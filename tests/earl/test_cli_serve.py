"""`earl serve` as a user runs it: a process that says where it listens and ends in good order."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from serving import GOLDEN, PARITY, wait_for

from earl.cli import main
from verifiers.client import ServiceClient
from verifiers.problem_json import problem_to_json

pytestmark = [pytest.mark.tool, pytest.mark.slow]


@pytest.fixture
def start():
    """Starts `earl serve` with options; gives the process and its URL."""
    processes: list[subprocess.Popen] = []

    def run(*options: str) -> tuple[subprocess.Popen, str]:
        program = "from earl.cli import main; main()"
        argv = [sys.executable, "-c", program, "serve", "--bind", "127.0.0.1:0", "--num-workers", "1", *options]
        processes.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        url = processes[-1].stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), processes[-1].stderr.read()
        return processes[-1], url

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()  # a child is listed with the thread that started it
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_running_requests_answered_and_no_process_left(start, number):
    process, url = start("--isolation", "rlimits")
    with ServiceClient(url) as client:
        assert client.submit(PARITY, GOLDEN, (1,)).result(30).verdict.passed
    children = _children(process.pid)
    assert children
    for child in children:
        os.kill(child, signal.SIGSTOP)  # so that the next job takes as long as the test wants
    body = {"jobs": [{"problem": problem_to_json(PARITY), "completion": GOLDEN, "seeds": [2]}]}
    answers = []
    thread = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/v1/verdicts", json=body, timeout=60)))
    thread.start()
    wait_for(lambda: "earl_pending_jobs 1.0" in httpx.get(f"{url}/metrics").text)
    process.send_signal(number)
    wait_for(lambda: not _answers(url))  # no new requests are taken
    assert process.poll() is None
    for child in children:
        os.kill(child, signal.SIGCONT)
    assert process.wait(timeout=60) == 0, process.stderr.read()
    thread.join()
    assert answers[0].status_code == 200
    assert answers[0].json()["judgements"][0]["verdict"]["outcome"] == "passed"
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert "stopped" in process.stderr.read()


def test_it_is_ready_describes_itself_and_reads_its_token_from_a_file(start, tmp_path):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    token.chmod(0o600)
    _, url = start("--token-file", str(token), "--cache", str(tmp_path / "cache.sqlite"))
    assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
    assert httpx.get(f"{url}/v1/status").status_code == 401
    with ServiceClient(url, token=token.read_text().strip()) as client:
        first, second = (client.submit(PARITY, GOLDEN, (5,)).result(30) for _ in range(2))
        assert first.verdict.passed
        assert second.verdict.outcome == first.verdict.outcome
        stats = client.stats()
    assert stats.num_stored + stats.num_audits == 1  # one hit in a hundred is run again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bind", "0.0.0.0:0"], "can be reached from elsewhere"),
        (["--bind", "here"], "give HOST:PORT"),
        (["--token-file", "/no/such/file"], "cannot read the token file"),
        (["--isolation", "docker"], "isolation is 'docker'"),
    ],
)
def test_what_cannot_be_served_is_a_usage_error(capsys, options, message):
    with pytest.raises(SystemExit) as stop:
        main(["serve", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_options_show_in_the_status(start):
    _, url = start("--max-pending-jobs", "7")
    status = httpx.get(f"{url}/v1/status").json()
    assert (status["max_pending_jobs"], status["farm"]["num_workers"]) == (7, 1)
