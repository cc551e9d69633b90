import json

import pytest

from earl.cli import main
from earl.doctor import is_healthy, run_checks
from toolchain import sandbox, tool
from toolchain.isolation_probe import HELD_BY_RLIMITS, PROBE_NAMES, Probe


@pytest.fixture
def fresh_tools():
    """Tools are looked up once a process: forget what was found, before and after."""
    caches = (tool.find_tool, sandbox.bubblewrap_problem)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def by_name(checks):
    return {check.name: check for check in checks}


@pytest.mark.tool
def test_judging_is_tried_for_real_and_works_here():
    checks = by_name(run_checks())
    assert checks["judging"].is_ok
    assert "a right design passes, a wrong one fails" in checks["judging"].message
    assert checks["compiled ops"].is_ok
    assert checks["iverilog"].version[0].isdigit()


def test_a_missing_simulator_fails_with_the_remedy(monkeypatch, capsys, fresh_tools):
    monkeypatch.setenv("EARL_IVERILOG", "/nonexistent/iverilog")
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in document["checks"]}
    assert stop.value.code == 3
    assert document["ok"] is False
    assert set(checks["iverilog"]) == {"name", "ok", "needed", "version", "message"}
    assert (checks["iverilog"]["ok"], checks["iverilog"]["needed"]) == (False, True)
    assert "apt-get install iverilog" in checks["iverilog"]["message"]
    assert checks["judging"]["ok"] is False


def test_a_missing_sandbox_is_told_with_what_it_means_but_is_not_needed(monkeypatch, fresh_tools):
    monkeypatch.setenv("EARL_BWRAP", "/nonexistent/bwrap")
    check = by_name(run_checks())["bubblewrap"]
    assert (check.is_ok, check.is_needed) == (False, False)
    assert "In force: rlimits" in check.message
    assert "apt-get install bubblewrap" in check.message


def test_a_cache_folder_that_cannot_be_written_names_its_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EARL_CACHE", str(tmp_path / "file" / "cache"))
    check = by_name(run_checks())["cache folder"]
    assert not check.is_ok
    assert "EARL_CACHE" in check.message


def test_health_asks_only_for_what_is_needed():
    checks = [check for check in run_checks() if check.is_ok or not check.is_needed]
    assert is_healthy(checks)
    assert any(not check.is_needed for check in checks)


def test_the_table_names_what_is_missing(monkeypatch, capsys, fresh_tools):
    monkeypatch.setenv("EARL_VVP", "/nonexistent/vvp")
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        main(["doctor"])
    assert stop.value.code == 3
    assert "not ready: vvp, judging" in capsys.readouterr().out


def doctor_json(capsys, *options):
    with pytest.raises(SystemExit) as stop:
        main(["doctor", "--json", *options])
    return stop.value.code, json.loads(capsys.readouterr().out)


@pytest.mark.tool
def test_without_bubblewrap_the_attempts_that_succeed_are_named_broken(monkeypatch, capsys, fresh_tools):
    monkeypatch.setenv("EARL_BWRAP", "/nonexistent/bwrap")
    code, document = doctor_json(capsys, "--judging")
    assert document["rung"] == "rlimits"
    assert tuple(document["isolation"]) == PROBE_NAMES
    assert {name for name, state in document["isolation"].items() if state == "held"} == set(HELD_BY_RLIMITS)
    assert (code, document["ok"]) == (0, True)  # rlimits hold what they promise


@pytest.mark.tool
def test_a_rung_that_breaks_its_promise_is_not_ready(monkeypatch, capsys):
    probes = tuple(Probe(name=name, is_held=name != "exceed_memory", finding="") for name in PROBE_NAMES)
    monkeypatch.setattr("earl.doctor.probe_isolation", lambda run, limits: probes)
    code, document = doctor_json(capsys, "--judging")
    assert (code, document["ok"]) == (3, False)
    assert document["isolation"]["exceed_memory"] == "broken"


@pytest.mark.tool
def test_judging_alone_asks_for_no_trainer(capsys, monkeypatch):
    monkeypatch.setattr("earl.doctor.probe_isolation", lambda run, limits: ())
    _, document = doctor_json(capsys, "--judging")
    names = {check["name"] for check in document["checks"]}
    assert {"judging", "iverilog"} <= names
    assert not {"torch", "policy", "transformers"} & names
