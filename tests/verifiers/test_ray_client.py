"""A cluster reached from outside by ray://HOST:PORT."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from serving import GOLDEN, PARITY, wait_for

pytest.importorskip("ray")
pytest.importorskip("grpc")

from verifiers.connect import FarmSettings, connect
from verifiers.types import Outcome

_SERVER = """
import sys
import ray
from ray.util.client.server.server import serve
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
handle = serve("127.0.0.1", int(sys.argv[1]))
print("serving", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def address():
    """A cluster in processes of its own, with a server for clients."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # the server is this test's alone
    argv = [sys.executable, "-c", _SERVER, str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert any(line.strip() == "serving" for line in process.stdout)
        yield f"ray://127.0.0.1:{port}"
        process.stdin.close()


@pytest.mark.tool
@pytest.mark.slow
def test_jobs_go_to_the_cluster_and_survive_a_killed_actor(address):
    with connect(address, FarmSettings(num_workers=1, isolation="rlimits")) as farm:
        assert farm.isolation == "rlimits"
        futures = [farm.submit(PARITY, GOLDEN + f"// {number}\n", (1,)) for number in range(30)]
        wrong = farm.submit(PARITY, GOLDEN.replace("^", "|"), (1,))
        wait_for(lambda: futures[0].done(), wall_s=60)
        os.kill(farm._workers[0].pid, signal.SIGKILL)
        assert [future.result(60).verdict.outcome for future in futures] == [Outcome.PASSED] * 30
        assert wrong.result(60).verdict.outcome is Outcome.MISMATCH
        stats = farm.stats()
    assert stats.num_judged == 31
    assert stats.num_workers_lost <= 1
