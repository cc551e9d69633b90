"""The built extension depends on no instruction set of the machine that built it."""

import platform
import re
import shutil
import subprocess

import earl._C
import pytest


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the dispatched instruction sets are x86's")
@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")
def test_wide_registers_are_used_only_by_functions_that_are_chosen_at_run_time():
    command = ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", "-C", earl._C.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    wide: dict[str, bool] = {}
    name = ""
    for line in listing.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name = header[1]
        elif re.search(r"\t.*\b[yz]mm\d", line):
            wide[name] = True
    dispatched = {name for name in wide if re.search(r"\brun_avx(2|512)<", name)}
    assert any("run_avx512<" in name for name in dispatched)
    assert set(wide) == dispatched
