"""Reads a CVDP harness: what it runs, or why we cannot run it. Runs none of its Python.

A harness is an `.env` (TOPLEVEL, VERILOG_SOURCES, MODULE or COCOTB_TEST_MODULES, SIM), a docker-compose file that names
a pytest runner, which builds and simulates with cocotb's runner, and test modules. What can be seen without running it
is refused here by name: simulators and tools that we lack, files of the container that are not there. Which runs the
runner makes (parameters, parametrised tests, loops) is recorded in the sandbox: `verifiers.cocotb_runner`.
"""

import ast
import importlib.util
import re
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from toolchain.cocotb import find_cocotb
from toolchain.errors import ToolNotFound
from verifiers.cocotb_runner import MODULES_VARIABLE

_SOURCE_FOLDER, _CODE_FOLDER = "src", "code"
_SIMULATORS = ("icarus", "verilator")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_OWN_VARIABLES = re.compile(r"PATH$|^LD_|^PYTHON|^COCOTB|^GPI|^PYGPI|^HASH$")  # what the tests' environment keeps
_COMMERCIAL = "__VERIF_EDA_IMAGE__"  # the data set's name for a container with a commercial simulator
_RUNNER = "test_runner.py"
_RUNNER_PATH = re.compile(r"/src/([\w./-]+\.py)")
_CONTAINER_PATH = re.compile(r"/(src|code|rundir)/.")
_COCOTB = ("cocotb", "cocotb_tools")
_SHIMMED = ("cocotb.result.TestFailure", "cocotb.runner", "cocotb.runner.get_runner")
_COCOTB_1 = "earl_cocotb1"  # hdl_bench.cocotb1, beside the tests


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """What a harness runs. `problem` says why we do not; its other fields may then be empty."""

    top_module: str = ""
    sources: tuple[str, ...] = ()  # as the rows name them: rtl/x.sv
    test_modules: tuple[str, ...] = ()
    simulator: str = "icarus"
    runner: str = ""  # one of `files`
    variables: tuple[tuple[str, str], ...] = ()  # what the tests find in their environment
    files: tuple[tuple[str, str], ...] = ()  # the test modules and what lies beside them
    problem: str = ""


def read_harness(files: dict[str, str]) -> Harness:
    """The harness of a row's `harness.files`."""
    env_text = next((text for name, text in files.items() if PurePosixPath(name).name == ".env"), None)
    if env_text is None:
        return Harness(problem=_fault_of_container(files) or "the harness has no .env file")
    env = _variables(env_text)
    modules = tuple(re.split(r"[,\s]+", env.get("COCOTB_TEST_MODULES") or env.get("MODULE", "")))
    tests = {name: text for name, text in files.items() if _is_test(name)}
    runners = _runners_of(files)
    beside = {str(PurePosixPath(name).relative_to(_SOURCE_FOLDER)): text for name, text in tests.items()}
    return Harness(
        top_module=env.get("TOPLEVEL", ""),
        sources=tuple(_row_name(source) for source in env.get("VERILOG_SOURCES", "").split()),
        test_modules=modules,
        simulator=env.get("SIM", "icarus"),
        variables=tuple((key, value) for key, value in env.items() if not _OWN_VARIABLES.search(key)),
        files=(*beside.items(), (f"{_COCOTB_1}.py", Path(__file__).with_name("cocotb1.py").read_text("utf-8"))),
        runner=runners[0],
        problem=_fault_of_container(files) or _fault_of(env, modules, beside) or _fault_of_runners(runners, beside),
    )


def missing_imports(harness: Harness) -> str:
    """What the tests import and the installed cocotb does not have; "" for nothing, or where there is none."""
    try:
        version = find_cocotb().version
    except ToolNotFound:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is about to go is still there
        for file_name, tree in _python_of(harness):
            for name, line in _imports(tree):
                if name.split(".")[0] in _COCOTB and name not in _SHIMMED and not _can_import(name):
                    return f"{file_name}, line {line} imports {name}, which cocotb {version} does not have"
    return ""


def missing_packages(harness: Harness) -> str:
    """What the tests import that is neither among their files nor installed; "" for nothing."""
    own = {name.split("/")[0].removesuffix(".py") for name, _ in harness.files}
    for file_name, tree in _python_of(harness):
        for name, line in _imports(tree):
            top = name.split(".")[0]
            if top not in own and top not in _COCOTB and importlib.util.find_spec(top) is None:
                return f"{file_name}, line {line} imports {top}, which is not installed here"
    return ""


def _python_of(harness: Harness) -> list[tuple[str, ast.Module]]:
    """The Python files that the tests may import: all but the runner."""
    names = [(name, text) for name, text in harness.files if name.endswith(".py") and name != harness.runner]
    return [(name, ast.parse(text)) for name, text in names]


def test_source() -> str:
    """A test module that has all tests of the modules that a run names."""
    return (
        f"import importlib\nimport os\n\nimport {_COCOTB_1}\n\n"
        f"for _name in os.environ[{MODULES_VARIABLE!r}].split(','):\n"
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
    return next(filter(None, (_fault_of_python(name, text, modules) for name, text in beside.items())), "")


def _runners_of(files: dict[str, str]) -> list[str]:
    """The pytest modules that the docker-compose file runs."""
    texts = [text for name, text in files.items() if PurePosixPath(name).name.startswith("docker-compose")]
    lines = [line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#")]
    return list(dict.fromkeys(name for line in lines for name in _RUNNER_PATH.findall(line))) or [_RUNNER]


def _fault_of_container(files: dict[str, str]) -> str:
    named = next((name for name, text in files.items() if not name.endswith(".py") and _COMMERCIAL in text), None)
    return f"its {named} asks for a commercial simulator ({_COMMERCIAL})" if named else ""


def _fault_of_runners(runners: list[str], beside: dict[str, str]) -> str:
    if len(runners) != 1:
        return f"its docker-compose runs {len(runners)} modules: {', '.join(runners)}; one is run"
    return "" if runners[0] in beside else f"its runner {runners[0]} is not among its files"


def _fault_of_python(name: str, text: str, modules: tuple[str, ...]) -> str:
    """What a Python file does that works in the benchmark's container only."""
    if not name.endswith(".py"):
        return ""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return f"{name} is no Python: {error.msg}, line {error.lineno}"
    is_test = name in map(_file_of, modules)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CONTAINER_PATH.match(node.value):
            return f"{name}, line {node.lineno} uses the container's {node.value[:60]}"
        if not is_test and _runs_commands(node):
            return f"{name}, line {node.lineno} runs commands of its own, not cocotb alone"
    return ""


def _runs_commands(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name == "subprocess" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == "subprocess"
    return isinstance(node, ast.Attribute) and node.attr in ("system", "popen") and ast.unparse(node.value) == "os"


def _imports(tree: ast.Module) -> list[tuple[str, int]]:
    """The modules and names that a module imports, with the line; not those that it can do without (`try`)."""
    spared = {id(node) for attempt in ast.walk(tree) if isinstance(attempt, ast.Try) for node in ast.walk(attempt)}
    found = []
    for node in ast.walk(tree):
        if id(node) in spared:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(f"{node.module}.{alias.name}".removesuffix(".*"), node.lineno) for alias in node.names]
    return found


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
