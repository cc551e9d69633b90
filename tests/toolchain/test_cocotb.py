"""cocotb's environment and results file, by a captured file of cocotb 2.1."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain import cocotb
from toolchain.cocotb import CocotbInstall, TestResult, environment, find_cocotb, read_results, simulate_argv
from toolchain.errors import InfrastructureError, ToolNotFound

_MIXED = (Path(__file__).parents[1] / "golden" / "cocotb" / "mixed.xml").read_text()


@pytest.fixture
def install() -> CocotbInstall:
    return CocotbInstall(
        version="2.1.0",
        package=Path("/env/cocotb"),
        python=Path("/env/bin/python"),
        libpython=Path("/base/lib/libpython3.11.so"),
        simulator_module=Path("/env/cocotb/simulator.so"),
    )


def _file(cases: str) -> str:
    return f'<testsuites name="cocotb tests"><testsuite name="m">{cases}</testsuite></testsuites>'


def test_a_results_file_is_read_test_by_test():
    results = read_results(_MIXED)
    assert [(result.name, result.status) for result in results] == [
        ("test_counter.counts", "passed"),
        ("test_counter.fails", "failed"),
        ("test_counter.skipped", "skipped"),
        ("test_counter.xf", "passed"),
    ]
    assert results[1].message == "AssertionError: assert dut.q.value == 9"


def test_an_assertion_without_words_is_told_by_its_source_line():
    text = (
        'Traceback (most recent call last):\n  File "t.py", line 3, in t\n    assert dut.q.value == 1\nAssertionError\n'
    )
    (result,) = read_results(
        _file(f'<testcase classname="m" name="t"><failure type="AssertionError">{text}</failure></testcase>')
    )
    assert result.message == "AssertionError: assert dut.q.value == 1"


def test_a_test_with_an_error_or_two_verdicts_is_never_passed():
    cases = '<testcase classname="m" name="a"><error message="boom"/></testcase>'
    cases += '<testcase classname="m" name="b"><skipped/><failure/></testcase>'
    assert [result.status for result in read_results(_file(cases))] == ["error", "failed"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no XML"),
        ("<testsuites>", "no XML"),
        ("<html/>", "not <testsuites>"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites>&a;</testsuites>', "document type"),
        ('<testsuites><!-- <testcase classname="m" name="t"/> --></testsuites>', "document type"),
        (" " * (cocotb.MAX_RESULTS_CHARS + 1), "more than"),
    ],
)
def test_what_cocotb_does_not_write_is_not_read(text, why):
    found = read_results(text)
    assert isinstance(found, str)
    assert why in found


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='<>/&;!"= testcaseufil[]#x0', max_size=80))
def test_no_text_makes_the_reader_raise(text):
    found = read_results(f"<testsuites>{text}</testsuites>")
    assert isinstance(found, str) or all(isinstance(result, TestResult) for result in found)


def test_a_test_outside_a_suite_is_none():
    assert read_results('<testsuites><testcase classname="m" name="t"/></testsuites>') == ()


def test_the_environment_names_the_test_module_the_results_file_and_the_seed(install):
    env = environment(install, top="T", test_module="m", results_file="r.xml", seed=(1 << 31) + 5)
    assert (env["COCOTB_TOPLEVEL"], env["COCOTB_TEST_MODULES"], env["COCOTB_RESULTS_FILE"]) == ("T", "m", "r.xml")
    assert env["COCOTB_RANDOM_SEED"] == "5"
    assert env["GPI_USERS"] == "/base/lib/libpython3.11.so;/env/cocotb/simulator.so,initialize"
    assert env["PYGPI_PYTHON_BIN"] == "/env/bin/python"


def test_icarus_loads_cocotbs_library_before_the_design(install):
    argv = simulate_argv("/usr/bin/vvp", install, image="d.vvp")
    assert argv == ("/usr/bin/vvp", "-n", "-m", "/env/cocotb/libs/libcocotbvpi_icarus.so", "d.vvp", "-none")


def test_the_sandbox_is_shown_this_environment_and_its_python(install):
    assert Path("/base/lib") in install.read_only


def test_a_missing_cocotb_names_the_remedy(monkeypatch):
    find_cocotb.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolNotFound, match=r"pip install 'earl-rtl\[cocotb\]'"):
        find_cocotb()
    find_cocotb.cache_clear()


def test_cocotb_1_is_refused(monkeypatch):
    pytest.importorskip("cocotb_tools")
    find_cocotb.cache_clear()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.9.2")
    with pytest.raises(InfrastructureError, match=r"cocotb 1\.9\.2 is too old: 2\.0"):
        find_cocotb()
    find_cocotb.cache_clear()
