"""Reads a CVDP harness: what it runs, or why our cocotb checker cannot run it. Runs none of its Python.

A harness is an `.env` (TOPLEVEL, VERILOG_SOURCES, MODULE or COCOTB_TEST_MODULES, SIM), a pytest runner that builds and
simulates with cocotb's runner, and test modules. The runner is only read: one plain build and test is what our checker
does itself; build parameters, defines, arguments of the simulator and parametrised runs are refused by name.
"""

import ast
import importlib
import re
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath

from toolchain.cocotb import find_cocotb
from toolchain.errors import ToolNotFound

_SOURCE_FOLDER, _CODE_FOLDER = "src", "code"
_SIMULATORS = ("icarus", "verilator")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_OWN_VARIABLES = re.compile(r"PATH$|^LD_|^PYTHON|^COCOTB|^GPI|^PYGPI|^HASH$")  # what the tests' environment keeps
# Arguments of a runner's `build` and `test` that change nothing of what is judged.
_PLAIN_ARGUMENTS = {
    *("sources", "verilog_sources", "hdl_toplevel", "hdl_toplevel_lang", "test_module", "timescale", "seed"),
    *("always", "clean", "verbose", "waves", "log_file", "build_dir", "test_dir", "results_xml"),
}
_PLAIN_BUILD_ARGS = frozenset(("-g2012", "-Wall", "-Wno-fatal", "--timing"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """What a harness runs. `problem` says why we do not; its other fields may then be empty."""

    top_module: str = ""
    sources: tuple[str, ...] = ()  # as the rows name them: rtl/x.sv
    test_modules: tuple[str, ...] = ()
    simulator: str = "icarus"
    variables: tuple[tuple[str, str], ...] = ()  # what the tests find in their environment
    files: tuple[tuple[str, str], ...] = ()  # the test modules and what lies beside them
    problem: str = ""


def read_harness(files: dict[str, str]) -> Harness:
    """The harness of a row's `harness.files`."""
    env_text = next((text for name, text in files.items() if PurePosixPath(name).name == ".env"), None)
    if env_text is None:
        return Harness(problem="the harness has no .env file")
    env = _variables(env_text)
    modules = tuple(re.split(r"[,\s]+", env.get("COCOTB_TEST_MODULES") or env.get("MODULE", "")))
    tests = {name: text for name, text in files.items() if _is_test(name)}
    beside = {str(PurePosixPath(name).relative_to(_SOURCE_FOLDER)): text for name, text in tests.items()}
    return Harness(
        top_module=env.get("TOPLEVEL", ""),
        sources=tuple(_row_name(source) for source in env.get("VERILOG_SOURCES", "").split()),
        test_modules=modules,
        simulator=env.get("SIM", "icarus"),
        variables=tuple((key, value) for key, value in env.items() if not _OWN_VARIABLES.search(key)),
        files=tuple(beside.items()),
        problem=_fault_of(env, modules, beside),
    )


def missing_imports(harness: Harness) -> str:
    """What the test modules import and the installed cocotb does not have; "" for nothing, or where there is none."""
    try:
        version = find_cocotb().version
    except ToolNotFound:
        return ""
    texts = dict(harness.files)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is about to go is still there
        for module in harness.test_modules:
            for name, line in _cocotb_imports(ast.parse(texts[_file_of(module)])):
                if not _can_import(name):
                    return f"{_file_of(module)}, line {line} imports {name}, which cocotb {version} does not have"
    return ""


def test_source(harness: Harness) -> str:
    """A test module that has all tests of the harness, run with its environment."""
    return (
        "import importlib\nimport os\n\n"
        f"os.environ.update({dict(harness.variables)!r})\n"
        f"for _name in {harness.test_modules!r}:\n"
        "    _found = vars(importlib.import_module(_name))\n"
        '    globals().update({key: value for key, value in _found.items() if not key.startswith("__")})\n'
    )


def _variables(text: str) -> dict[str, str]:
    matches = (_ASSIGNMENT.match(line) for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {match[1]: match[2].strip("\"'") for match in matches if match}


def _row_name(source: str) -> str:
    """A path of the harness's container as the rows name it: /code/rtl/x.sv is rtl/x.sv."""
    path = PurePosixPath(source.strip("\"'"))
    parts = path.parts[1:] if path.is_absolute() else path.parts
    return str(PurePosixPath(*parts[1:])) if parts and parts[0] == _CODE_FOLDER else str(PurePosixPath(*parts))


def _is_test(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[0] == _SOURCE_FOLDER and len(path.parts) > 1 and path.name != ".env"


def _file_of(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _fault_of(env: dict[str, str], modules: tuple[str, ...], beside: dict[str, str]) -> str:
    """Why our checker does not run this harness; "" when it does."""
    for key in ("TOPLEVEL", "VERILOG_SOURCES"):
        if not env.get(key):
            return f"its .env does not say {key}"
    if env.get("SIM", "icarus") not in _SIMULATORS:
        return f"its simulator is {env['SIM']}; only {' and '.join(_SIMULATORS)} are run"
    if not any(modules):
        return "its .env says neither MODULE nor COCOTB_TEST_MODULES"
    missing = [module for module in modules if _file_of(module) not in beside]
    if missing:
        return f"its .env names the test module {missing[0]!r}, which is not among its files"
    for module in modules:
        try:
            ast.parse(beside[_file_of(module)])
        except SyntaxError as error:
            return f"{_file_of(module)} is no Python: {error.msg}, line {error.lineno}"
    runners = {name: text for name, text in beside.items() if name.endswith(".py") and "get_runner" in text}
    if len(runners) != 1:
        return f"it has {len(runners)} runners of cocotb; only one plain build and test is run"
    [(name, text)] = runners.items()
    return _fault_of_runner(name, text)


def _fault_of_runner(name: str, text: str) -> str:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return f"{name} is no Python: {error.msg}, line {error.lineno}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "parametrize":
            return f"{name}, line {node.lineno} runs the tests for several parameters"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("build", "test"):
            odd = [word.arg or "**" for word in node.keywords if not _is_plain(word)]
            if odd:
                return f"{name}, line {node.lineno} gives {odd[0]!r} to the runner's {node.func.attr}"
    return ""


def _is_plain(word: ast.keyword) -> bool:
    if word.arg in _PLAIN_ARGUMENTS:
        return True
    is_list = word.arg == "build_args" and isinstance(word.value, ast.List)
    return is_list and all(isinstance(e, ast.Constant) and e.value in _PLAIN_BUILD_ARGS for e in word.value.elts)


def _cocotb_imports(tree: ast.Module) -> list[tuple[str, int]]:
    """The modules and names of cocotb's packages that a module imports, with the line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(f"{node.module}.{alias.name}".removesuffix(".*"), node.lineno) for alias in node.names]
    return [(name, line) for name, line in found if name.split(".")[0] in ("cocotb", "cocotb_tools")]


def _can_import(name: str) -> bool:
    """Whether a dotted name is a module, or in one, of the installed cocotb."""
    try:
        importlib.import_module(name)
    except ImportError:
        parent, _, last = name.rpartition(".")
        if not parent:
            return False
        try:
            return hasattr(importlib.import_module(parent), last)
        except ImportError:
            return False
    return True
