"""Calls Icarus' compiler proper, `ivl`, in the way that its driver `iverilog` would: 3 ms of processes less a compile.

The driver itself is asked for the configuration that it writes, and what comes out of the direct call must equal what
the driver makes of a probe design. A source that needs the preprocessor is for the driver: see `needs_driver`.
"""

import functools
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import InfrastructureError
from toolchain.icarus import compile_argv
from toolchain.tool import find_tool

CONFIG_FILE, SOURCE_FILE = "ivl.conf", "ivl.v"  # of a job's folder
_TOP, _OUTPUT = "earl_probe_top", "earl_probe_output"
_PROBE_WALL_S = 30.0
_PLAIN_DIRECTIVES = frozenset(("`timescale", "`default_nettype", "`resetall"))  # the compiler's own
# The compiler's own, and those of the simulator's system.vpi, which is always loaded.
_PLAIN_NAMES = frozenset(
    """$signed $unsigned $display $write $strobe $monitor $finish $stop $time $stime $realtime $timeformat $random
    $urandom $urandom_range $dumpfile $dumpvars $fopen $fclose $fdisplay $fwrite $fscanf $readmemb $readmemh""".split()  # noqa: SIM905
)
_DIRECTIVE = re.compile(r"`\w*")
_SYSTEM_NAME = re.compile(r"\$[a-zA-Z_]\w*")
_TRANSLATE = re.compile(r"(?P<base>\S+)/ivl(?: -v)? -C")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_RECORDER = """#!/bin/sh
for argument in "$@"; do case $argument in -C*) cat "${argument#-C}" ;; esac; done
exec cat > /dev/null
"""
_PROBE = {
    "a.v": "`timescale 1ns/1ps\nmodule earl_probe_top; wire [39:0] y; reg [7:0] a;\n"
    "  earl_probe_part #(.N(9)) part (a, y);\n"
    "  initial begin a = 8'hc3; #1 $display(\"%b %0d\", y, 64'd12345678901 + a); end\nendmodule\n",
    "b.v": "module earl_probe_part #(parameter N = 4) (input signed [7:0] a, output reg [39:0] y);\n"
    "  localparam W = $clog2(N); integer i; genvar g; wire [W-1:0] t;\n"
    "  generate for (g = 0; g < W; g = g + 1) begin : bits assign t[g] = a[g] ^ ~a[g+1]; end endgenerate\n"
    "  function automatic [7:0] twice(input [7:0] x); twice = x << 1; endfunction\n"
    "  always_comb begin y = 'h1_0000_0000 - 5; for (i = 0; i < 4; i++) y = y + (a >>> i) * twice(t); end\n"
    "  always @(posedge a[0]) if (a < -3) #2 y[3:0] <= 4'bx1z0; else y <= {5{a}} / 3;\nendmodule\n",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectCompiler:
    """A way to call ivl that was found equal to the driver's."""

    ivl: str
    base: str
    config: str  # the driver's, for root module _TOP and output file _OUTPUT

    def config_text(self, *, tops: Sequence[str], output: str, is_plain: bool) -> str:
        """The text of CONFIG_FILE. `is_plain` leaves out the modules of system functions that nothing calls."""
        roots = "\n".join(f"root:{top}" for top in tops)
        lines = []
        for line in self.config.splitlines():
            if is_plain and line.startswith("module:") and not line.endswith("/system.vpi"):
                continue
            lines.append({f"root:{_TOP}": roots, f"out:{_OUTPUT}": f"out:{output}"}.get(line, line))
        return "\n".join(lines) + "\n"

    def argv(self) -> tuple[str, ...]:
        """The argv that compiles the SOURCE_FILE of a folder that has the CONFIG_FILE."""
        return (self.ivl, f"-C{CONFIG_FILE}", f"-C{self.base}/vvp.conf", "--", SOURCE_FILE)


def joined(sources: dict[str, str]) -> str:
    """The text of SOURCE_FILE for sources in this order, file name -> text: one compilation unit, as the driver's.

    (Several files on ivl's command line are units of their own, and forget the time scale.)
    """
    return "".join(f'`line 1 "{name}" 0\n{text}\n' for name, text in sources.items())


def needs_driver(text: str) -> bool:
    """Whether a source holds what its preprocessor must see: macros and conditionals, even if only in a comment."""
    return "`" in text and not _PLAIN_DIRECTIVES.issuperset(_DIRECTIVE.findall(text))


def is_plain(text: str) -> bool:
    """Whether a source calls no system task or function of a module that a simulator can do without."""
    return "$" not in text or _PLAIN_NAMES.issuperset(_SYSTEM_NAME.findall(text))


@functools.cache
def find_direct_compiler() -> DirectCompiler | None:
    """The direct way to the installed compiler, or None where it differs from the driver's. Found once a process."""
    iverilog = str(find_tool("iverilog").path)
    try:
        with tempfile.TemporaryDirectory(prefix="earl-ivl-") as name:
            folder = Path(name)
            for file_name, text in (*_PROBE.items(), (SOURCE_FILE, joined(_PROBE))):
                folder.joinpath(file_name).write_text(text)
            argv = compile_argv(iverilog, sources=tuple(_PROBE), tops=(_TOP,), output=_OUTPUT)
            said = _run((*argv, "-v"), folder)
            wanted = _normal(folder.joinpath(_OUTPUT).read_text())
            match = _TRANSLATE.search(said)
            if match is None:
                return None
            compiler = _record(argv, match["base"], folder)
            for is_plain_probe in (False, True):
                text = compiler.config_text(tops=(_TOP,), output=_OUTPUT, is_plain=is_plain_probe)
                folder.joinpath(CONFIG_FILE).write_text(text)
                folder.joinpath(_OUTPUT).unlink()
                _run(compiler.argv(), folder)
                if _normal(folder.joinpath(_OUTPUT).read_text()) != wanted:
                    return None
    except (OSError, subprocess.SubprocessError, InfrastructureError):
        return None  # the driver remains, which is the same but slower
    return compiler


def _record(argv: tuple[str, ...], base: str, folder: Path) -> DirectCompiler:
    """The configuration that the driver hands to a compiler in another folder, put back to `base`."""
    stand_in = folder / "base"
    stand_in.mkdir()
    for original in Path(base).iterdir():
        if original.name != "ivl":
            stand_in.joinpath(original.name).symlink_to(original)
    recorder = stand_in / "ivl"
    recorder.write_text(_RECORDER)
    recorder.chmod(0o700)
    recorded = _run((argv[0], "-B", str(stand_in), *argv[1:]), folder)
    defaults = Path(base, "vvp.conf").read_text()
    config = recorded.removesuffix(defaults).replace(str(stand_in), base)
    # Names a preprocessor for library folders, of which there are none, with files that are gone.
    lines = [line for line in config.splitlines() if not line.startswith("ivlpp:")]
    if f"root:{_TOP}" not in lines or f"out:{_OUTPUT}" not in lines:
        raise InfrastructureError(f"the driver's configuration is not understood: {recorded[:200]!r}")
    return DirectCompiler(ivl=f"{base}/ivl", base=base, config="\n".join(lines))


def _run(argv: tuple[str, ...], folder: Path) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_PROBE_WALL_S, check=True)
    return done.stdout + done.stderr


def _normal(image: str) -> str:
    """An image without what differs from run to run, the list of modules that it loads and the source's name."""
    lines = [
        line
        for line in image.replace(f'"{SOURCE_FILE}";', '"-";').splitlines()
        if not line.startswith((":vpi_module", "#"))
    ]
    return _ADDRESS.sub("", "\n".join(lines))
