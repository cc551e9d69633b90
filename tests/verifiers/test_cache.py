"""The disk cache: what goes in comes out, or nothing does; what a key depends on; what the farm keeps and what not."""

import dataclasses
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolchain.errors import InfrastructureError, UsageError
from verifiers import cache as cache_module
from verifiers.cache import DiskCache, entry_key, judge_fingerprint, problem_digest, unified
from verifiers.farm import Farm
from verifiers.golden import GoldenRuns
from verifiers.group_judge import GroupJudge
from verifiers.judgement import GroupJob, Source
from verifiers.simulate import local_simulator
from verifiers.trace_store import TraceStore
from verifiers.types import Outcome, Port, Problem, Protocol, ReferenceOracle
from verifiers.verify import Verifier

_GOLDEN = "module TopModule(input [3:0] a, output y);\n  assign y = ^a;\nendmodule\n"
_WRONG = _GOLDEN.replace("^a", "|a")
_PROBLEM = Problem(
    problem_id="parity",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=(Port(name="a", direction="input", width=4), Port(name="y", direction="output")),
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule", protocol=Protocol()),
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "folder" / "cache.db"


def _edit(path: Path, statement: str, *arguments: object) -> int:
    connection = sqlite3.connect(path)
    with connection:
        num_rows = connection.execute(statement, arguments).rowcount
    connection.close()
    return num_rows


def test_what_was_put_is_found_by_its_key_also_later_and_elsewhere(path):
    cache = DiskCache(path)
    cache.put("one", b"1")
    cache.put("two", b"\x00\xff")
    cache.put("one", b"uno")
    assert (cache.get("one"), cache.get("two"), cache.get("three")) == (b"uno", b"\x00\xff", None)
    cache.drop("two")
    cache.close()
    assert DiskCache(path).get("one") == b"uno"
    assert DiskCache(path).get("two") is None
    assert cache.num_faults == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET payload = CAST('outcome: passed' AS BLOB)",
        "UPDATE entries SET payload = 'text'",
        "UPDATE entries SET payload = NULL",
        "UPDATE entries SET digest = NULL",
        "UPDATE entries SET key = 'another'",
    ],
)
def test_a_changed_entry_is_dropped_not_believed(path, statement):
    cache = DiskCache(path)
    cache.put("key", b"outcome: failed")
    assert _edit(path, statement) == 1
    name = "another" if "key =" in statement else "key"
    assert cache.get(name) is None
    assert cache.num_faults == 1
    assert _edit(path, "DELETE FROM entries") == 0  # it is gone already
    cache.put(name, b"outcome: failed")
    assert cache.get(name) == b"outcome: failed"


@pytest.mark.parametrize("damage", ["garbage", "zeros", "truncated", "emptied"])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_damaged_file_gives_nothing_wrong_and_works_again(path, damage, is_open):
    cache = DiskCache(path)
    for number in range(200):
        cache.put(f"key {number}", f"{number}".encode() * 50)
    if not is_open:
        cache.close()
    data = path.read_bytes()
    half = len(data) // 2
    broken = {"garbage": b"no database " * 500, "zeros": bytes(len(data)), "truncated": data[:half], "emptied": b""}
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(broken[damage])
    for side in ("-wal", "-shm"):
        Path(f"{path}{side}").unlink(missing_ok=True)
    for number in range(200):
        assert cache.get(f"key {number}") in (None, f"{number}".encode() * 50)
    cache.close()
    again = DiskCache(path)
    for _ in range(3):  # the first uses may meet the damage
        again.put("new", b"new")
    assert again.get("new") == b"new"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=64)), min_size=1, max_size=8))
@example([(28526, b"\x80")])  # in the schema's text: SQLite's message on it is no UTF-8
def test_random_damage_never_makes_up_a_payload(tmp_path_factory, spots):
    path = tmp_path_factory.mktemp("cache") / "cache.db"
    cache = DiskCache(path)
    for number in range(20):
        cache.put(f"key {number}", f"payload {number}".encode())
    cache.close()
    data = bytearray(path.read_bytes())
    for offset, garbage in spots:
        start = offset % len(data)
        data[start : start + len(garbage)] = garbage
    path.write_bytes(data)
    cache = DiskCache(path)
    for number in range(20):
        assert cache.get(f"key {number}") in (None, f"payload {number}".encode())
    cache.close()


def test_the_file_keeps_to_its_size_and_the_oldest_entries_go_first(path):
    cache = DiskCache(path, max_bytes=200_000)
    for number in range(1000):
        cache.put(f"key {number}", bytes([number % 256]) * 1000)
    assert cache.get("key 0") is None
    assert cache.get("key 999") == bytes([999 % 256]) * 1000
    cache.close()
    assert 100_000 < path.stat().st_size < 300_000
    assert cache.num_faults == 0


def test_a_place_where_no_file_can_be_is_the_users_mistake(tmp_path):
    for place in (tmp_path, Path("/proc/no/cache.db"), Path("/dev/null/cache.db")):
        with pytest.raises(UsageError, match="cannot be"):
            DiskCache(place)


def test_a_locked_file_costs_a_fault_not_a_job(path, monkeypatch):
    monkeypatch.setattr(cache_module, "_BUSY_WAIT_S", 0.05)
    cache = DiskCache(path)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    cache.put("key", b"payload")
    assert cache.num_faults == 1
    other.rollback()
    cache.put("key", b"payload")
    assert cache.get("key") == b"payload"


def test_a_full_disk_costs_faults_not_jobs(path):
    cache = DiskCache(path)
    cache.put("before", b"payload")
    cache._connection.execute("PRAGMA max_page_count = 8")  # SQLite then says what it says on a full disk
    cache.put("large", bytes(100_000))
    assert cache.num_faults == 1
    assert cache.get("large") is None
    assert cache.get("before") == b"payload"
    cache.put("large", bytes(100_000))  # there is room again
    assert cache.get("large") == bytes(100_000)


_PUT_MANY = """
import sys, pathlib, verifiers.cache
cache = verifiers.cache.DiskCache(pathlib.Path(sys.argv[1]))
for number in range(200):
    cache.put(f"{sys.argv[2]} {number}", str(number).encode())
cache.close()
sys.exit(cache.num_faults)
"""


def test_several_processes_share_one_file(path):
    cache = DiskCache(path)
    writers = [subprocess.Popen([sys.executable, "-c", _PUT_MANY, str(path), name]) for name in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert all(cache.get(f"{name} {number}") == f"{number}".encode() for name in "ab" for number in range(200))
    assert cache.num_faults == 0


def test_a_key_depends_on_every_part_and_on_the_judging_code(monkeypatch):
    key = entry_key("verdict", "module", [1, 2])
    assert key == entry_key("verdict", "module", (1, 2))
    assert len({key, entry_key("trace", "module", [1, 2]), entry_key("verdict", "module ", [1, 2])}) == 3
    assert entry_key("verdict", "mod", "ule") != entry_key("verdict", "modu", "le")
    monkeypatch.setattr(cache_module, "judge_fingerprint", lambda: "another version")
    assert entry_key("verdict", "module", [1, 2]) != key
    assert len(judge_fingerprint()) == 64


def test_a_problems_name_and_prompt_do_not_matter_to_its_verdicts_but_oracle_top_and_ports_do():
    digest = problem_digest(_PROBLEM)
    same = dataclasses.replace(_PROBLEM, problem_id="other", prompt="Write it.", source="file", difficulty=3)
    assert problem_digest(same) == digest
    changes = (
        {"top_module": "Top"},
        {"ports": None},
        {"oracle": dataclasses.replace(_PROBLEM.oracle, golden=_GOLDEN + " ")},
        {"oracle": dataclasses.replace(_PROBLEM.oracle, protocol=Protocol(min_cycles=1))},
    )
    assert len({digest, *(problem_digest(dataclasses.replace(_PROBLEM, **change)) for change in changes)}) == 5


def test_only_the_line_ends_of_windows_are_unified():
    assert unified("a\r\nb\rc\n") == "a\nb\rc\n"


@pytest.fixture
def verifier(path):
    return Verifier(isolation="rlimits", cache=DiskCache(path))


def _job(*texts: str, is_fresh: bool = False) -> GroupJob:
    return GroupJob(problem=_PROBLEM, completion_texts=texts, seeds=(1,), is_fresh=is_fresh)


@pytest.mark.tool
def test_equal_designs_of_a_group_are_judged_once_whatever_surrounds_them(path, verifier, monkeypatch):
    judged = []
    check = verifier.check
    monkeypatch.setattr(Verifier, "check", lambda self, p, c, s: judged.append(c.text) or check(p, c, s))
    fenced = f"Here it is:\n```verilog\n{_GOLDEN}```\nDone."
    reply = GroupJudge(verifier).answer(_job(_GOLDEN, fenced, "none", _GOLDEN.replace("\n", "\r\n"), _WRONG))
    outcomes = [answer.judgement.verdict.outcome for answer in reply.answers]
    assert outcomes == [Outcome.PASSED, Outcome.PASSED, Outcome.NO_CODE, Outcome.PASSED, Outcome.MISMATCH]
    sources = [answer.source for answer in reply.answers]
    assert sources == [Source.RUN, Source.SHARED, Source.RUN, Source.SHARED, Source.RUN]
    assert len(judged) == 2
    assert reply.answers[1].judgement.candidate.start_offset == fenced.index("module")
    assert reply.answers[3].judgement.candidate.text == _GOLDEN.replace("\n", "\r\n")


@pytest.mark.tool
def test_a_stored_verdict_equals_the_one_that_was_stored(path):
    with Farm(num_workers=1, isolation="rlimits", cache=path, audit_fraction=0.0) as farm:
        first = [farm.submit(_PROBLEM, text, (1, 2)).result() for text in (_GOLDEN, _WRONG)]
        again = [farm.submit(_PROBLEM, text, (1, 2)).result() for text in (_GOLDEN, _WRONG)]
        other_seed = farm.submit(_PROBLEM, _GOLDEN, (3,)).result()
        stats = farm.stats()
    without_time = [dataclasses.replace(j, verdict=dataclasses.replace(j.verdict, duration_s=0.0)) for j in first]
    assert again == without_time
    assert other_seed.verdict.seed == 3
    assert (stats.num_stored, stats.num_judged, stats.num_audits) == (2, 5, 0)
    with Farm(num_workers=1, isolation="rlimits", cache=path, audit_fraction=0.0) as farm:  # a later farm
        assert [farm.submit(_PROBLEM, text, (1, 2)).result() for text in (_GOLDEN, _WRONG)] == without_time
        assert farm.stats().num_stored == 2


@pytest.mark.tool
def test_an_audit_runs_again_and_a_difference_is_an_alarm(path, caplog):
    with Farm(num_workers=1, isolation="rlimits", cache=path, audit_fraction=1.0) as farm:
        for _ in range(2):
            assert farm.submit(_PROBLEM, _WRONG, (1,)).result().verdict.outcome is Outcome.MISMATCH
        assert (farm.stats().num_audits, farm.stats().num_alarms) == (1, 0)
        forged = DiskCache(path)
        [(key, payload)] = [
            row for row in forged._open().execute("SELECT key, payload FROM entries") if b'"outcome"' in row[1]
        ]
        forged.put(key, payload.replace(b'"mismatch"', b'"passed"'))
        assert farm.submit(_PROBLEM, _WRONG, (1,)).result().verdict.outcome is Outcome.MISMATCH
        assert (farm.stats().num_audits, farm.stats().num_alarms) == (2, 1)
        assert forged.get(key) is None
    assert "the cache held another verdict on a candidate of parity" in caplog.text


@pytest.mark.tool
def test_tool_errors_are_never_stored(path):
    broken = dataclasses.replace(
        _PROBLEM, oracle=dataclasses.replace(_PROBLEM.oracle, golden=_GOLDEN.replace("^a", "^missing"))
    )
    with Farm(num_workers=1, isolation="rlimits", cache=path) as farm:
        for _ in range(2):
            assert farm.submit(broken, _GOLDEN, (1,)).result().verdict.outcome is Outcome.TOOL_ERROR
        stats = farm.stats()
    assert stats.num_stored == 0
    assert stats.tool_errors == {"parity": (2, 2)}
    assert _edit(path, "DELETE FROM entries") == 0


@pytest.mark.tool
def test_golden_traces_are_shared_through_the_file_and_run_again_when_damaged(path, monkeypatch):
    simulator = local_simulator(isolation="rlimits")
    runs = []
    simulate = type(simulator).simulate
    monkeypatch.setattr(type(simulator), "simulate", lambda *args, **named: runs.append(1) or simulate(*args, **named))

    def run():
        store = TraceStore(DiskCache(path), simulator.versions)
        return GoldenRuns(simulator, store).run(_PROBLEM, 1)

    first = run()
    assert run() == first  # rows and expectation too
    assert len(runs) == 1
    assert _edit(path, 'UPDATE entries SET payload = CAST(\'{"y": ["1"]}\' AS BLOB)') == 1
    assert run() == first
    assert len(runs) == 2


@pytest.mark.tool
def test_a_cache_that_cannot_be_made_is_told_before_any_worker_starts(tmp_path):
    with pytest.raises((UsageError, InfrastructureError)):
        Farm(num_workers=1, isolation="rlimits", cache=tmp_path)
