"""`earl eval --benchmark` from outside, against an endpoint on loopback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_endpoint import KEY, FakeEndpoint, error
from serving import wait_for
from stock_checkout import PROBLEMS, write_checkout

MAIN = "import sys\nfrom earl.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"


def right_or_none(body, index):
    """The golden for adders, no code for all else."""
    text = body["messages"][-1]["content"]
    [problem] = [problem for problem in PROBLEMS if problem.asks in text]
    return f"[BEGIN]{problem.source('TopModule')}[DONE]" if "adder" in problem.name else "I do not know."


def arguments(server: FakeEndpoint, root: Path, *more: object) -> list[str]:
    given = {"benchmark": "verilog-eval-v2-spec", "root": root, "model": "m", "engine": "openai"}
    given |= {"base-url": server.url, "api-key-env": "TEST_KEY"}
    options = [text for name, value in given.items() for text in (f"--{name}", str(value))]
    return [sys.executable, "-c", MAIN, "eval", *options, "--no-formal", *map(str, more)]


def earl(argv: list[str], key: str = KEY) -> subprocess.CompletedProcess:
    env = os.environ | {"TEST_KEY": key}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=env)


def rows_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]


@pytest.mark.tool
@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_and_pays_for_nothing_twice(tmp_path):
    root, run = write_checkout(tmp_path / "checkout"), tmp_path / "run"
    convention = ("--n", 4, "--temperature", 0.85, "--concurrency", 3, "--price", 1, 2, "--seed", 5)
    with FakeEndpoint(answer=right_or_none, max_n=1, delay_s=0.05).running() as server:
        argv = arguments(server, root, *convention, "--run", run)
        process = subprocess.Popen(argv, env=os.environ | {"TEST_KEY": KEY}, stderr=subprocess.DEVNULL)
        wait_for(lambda: (run / "samples.jsonl").exists() and len(rows_of(run)) >= 12, wall_s=60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = rows_of(run)
        assert len(before) < 44
        with (run / "samples.jsonl").open("a") as file:
            file.write('{"problem_id": "cut sh')
        other = earl(arguments(server, root, *convention[:-1], 6, "--resume", run))
        assert other.returncode == 2
        assert "changed: seed: 5 -> 6." in other.stderr
        num_paid = sum(server.paid.values())
        done = earl(arguments(server, root, *convention, "--resume", run))
        assert done.returncode == 0, done.stderr
        assert sum(server.paid.values()) - num_paid == 44 - len(before)
        assert num_paid - len(before) <= 3  # in flight when the process was killed
    rows = rows_of(run)
    assert rows[: len(before)] == before
    assert {(row["problem_id"], row["sample_idx"]) for row in rows} == {
        (problem.name, index) for problem in PROBLEMS for index in range(4)
    }
    assert len(rows) == 44
    assert all(row["prompt"][0]["role"] == "system" and len(row["prompt_hash"]) == 64 for row in rows)
    document = json.loads(sorted(run.glob("results_*.json"))[-1].read_text())
    assert document["summary"]["pass@1"] == pytest.approx(1 / 11)
    assert document["config"]["num_samples"] == 4
    assert document["config"]["cost_usd"] == pytest.approx(44 * (10 * 1 + 7 * 2) / 1e6)
    samples = sorted(run.glob("samples_verilog-eval-v2-spec_*.jsonl"))[-1].read_text().splitlines()
    hashes = {(row["problem_id"], row["sample_idx"]): row["prompt_hash"] for row in rows}
    assert [hashes[row["problem_id"], row["sample_idx"]] for row in map(json.loads, samples)] == [
        row["prompt_hash"] for row in map(json.loads, samples)
    ]


@pytest.mark.tool
def test_a_refused_key_and_a_failing_endpoint_have_exit_codes_of_their_own(tmp_path):
    root, run = write_checkout(tmp_path / "checkout"), tmp_path / "run"
    with FakeEndpoint(fault=lambda number, body: error(500, "oops") if number else None).running() as server:
        refused = earl(arguments(server, root, "--run", run), key="sk-wrong-secret")
        failed = earl(arguments(server, root, "--resume", run, "--max-attempts", 1))
    assert refused.returncode == 2
    assert "check the key in TEST_KEY" in refused.stderr
    assert failed.returncode == 3
    assert "last: HTTP 500: oops" in failed.stderr
    written = "".join(path.read_text() for path in run.iterdir())
    for text in (refused.stderr, refused.stdout, written):
        assert "sk-wrong-secret" not in text
        assert KEY not in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--n", "5"), "5 samples at temperature 0 are one sample"),
        (("--problems", "Prob999"), "no problem 'Prob999'"),
        (("--shots", "2"), "spec-to-rtl_2-shot.txt is missing"),
        (("--body", "seed"), "--body is FIELD=VALUE"),
        (("--resume", "nowhere"), "is no run of a benchmark"),
        (("configs/demo.toml",), "do not go together"),
        (("--api-key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY is not set"),
    ],
)
def test_a_mistyped_command_is_a_usage_error(tmp_path, more, message):
    from click.testing import CliRunner

    from earl.cli import cli
    from toolchain.errors import UsageError

    root = write_checkout(tmp_path / "checkout")
    argv = arguments(FakeEndpoint(url="http://127.0.0.1:1/v1"), root)[3:]
    argv = [text for text in argv if text not in ("--api-key-env", "TEST_KEY")]
    result = CliRunner().invoke(cli, [*argv, *more])
    assert isinstance(result.exception, UsageError), result.output
    assert message in str(result.exception)


def test_options_of_a_benchmark_do_not_go_with_a_config():
    from click.testing import CliRunner

    from earl.cli import cli

    result = CliRunner().invoke(cli, ["eval", "configs/demo.toml", "--n", "3"])
    assert "--n is for --benchmark" in str(result.exception)
    assert "Give --benchmark NAME" in str(CliRunner().invoke(cli, ["eval"]).exception)
