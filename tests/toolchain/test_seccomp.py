"""The filter, first by a small interpreter of its instructions, then by the kernel."""

import errno
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toolchain.errors import InfrastructureError
from toolchain.sandbox import bubblewrap_problem
from toolchain.seccomp import (
    AF_UNIX,
    CLONE,
    CLONE3,
    DENIED,
    LAST_KNOWN,
    NEW_NAMESPACE_FLAGS,
    SOCKET,
    filter_bytes,
    filter_fd,
)

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm-generic/unistd.h"),  # aarch64 has the generic numbers
)
ROOT = Path(__file__).parents[2]


def answer(machine: str, number: int, first_argument: int = 0, arch: int | None = None) -> int:
    """What the program returns for a call, by the rules of classic BPF."""
    data = struct.pack("<IIQQ", number, ARCHES[machine] if arch is None else arch, 0, first_argument)
    program = list(struct.iter_unpack("=HBBI", filter_bytes(machine)))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, constant = program[at]
        at += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            accumulator = struct.unpack_from("<I", data, constant)[0]
            continue
        tests = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}
        at += if_true if tests[code] else if_false


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_every_call_of_the_list_fails_with_eperm(machine, column):
    for name, numbers in DENIED.items():
        if numbers[column] is not None:
            assert answer(machine, numbers[column]) == EPERM, name


@given(number=st.integers(0, LAST_KNOWN), argument=st.integers(0, 2**64 - 1))
def test_every_other_known_call_is_allowed_whatever_its_argument(number, argument):
    ruled = {numbers[0] for numbers in DENIED.values()} | {CLONE[0], CLONE3[0], SOCKET[0]}
    assume(number not in ruled)
    assert answer("x86_64", number, argument) == ALLOW


@given(number=st.integers(LAST_KNOWN + 1, 2**32 - 1))
def test_calls_newer_than_the_list_and_x32_calls_do_not_exist(number):
    assert answer("x86_64", number) == ENOSYS


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_clone_starts_threads_and_processes_but_no_namespaces(machine, column):
    sigchld, thread = 17, 0x3D0F00
    assert answer(machine, CLONE[column], sigchld) == ALLOW
    assert answer(machine, CLONE[column], thread) == ALLOW
    assert answer(machine, CLONE3[column], 0) == ENOSYS
    flags = [1 << bit for bit in range(32) if NEW_NAMESPACE_FLAGS >> bit & 1]
    assert len(flags) == 7
    for flag in flags:
        assert answer(machine, CLONE[column], sigchld | flag) == EPERM, hex(flag)


@given(family=st.integers(0, 2**31 - 1))
def test_only_unix_sockets_are_made(family):
    assert answer("x86_64", SOCKET[0], family) == (ALLOW if family == AF_UNIX else EPERM)


@pytest.mark.parametrize("arch", [0x40000003, 0xC00000B7, 0])  # i386, aarch64, none
def test_a_call_of_another_architecture_ends_the_process(arch):
    assert answer("x86_64", 0, arch=arch) == KILL


def test_a_machine_without_a_list_is_told_so():
    with pytest.raises(InfrastructureError, match="riscv64, only for x86_64, aarch64"):
        filter_bytes("riscv64")


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_those_of_the_kernels_headers(column):
    if not HEADERS[column].exists():
        pytest.skip("linux-libc-dev is not installed")
    pairs = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[column].read_text())
    numbers = {name: int(number) for name, number in pairs}
    calls = {**DENIED, "clone": CLONE, "clone3": CLONE3, "socket": SOCKET}
    for name, expected in calls.items():
        assert numbers.get(name) == expected[column], name


# Runs under the filter. Prints the errno of each forbidden call, and does what an honest program does.
PROGRAM = """
import ctypes, os, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
for number in {numbers}:
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(0),) * 6)
    assert result == -1, number
    print(ctypes.get_errno())
try:
    socket.socket(socket.AF_INET)
except PermissionError:
    print("no network")
socket.socket(socket.AF_UNIX).close()
socket.socketpair()
threading.Thread(target=print, args=("thread",)).start()
print(subprocess.run(["/bin/echo", "child"], capture_output=True, text=True).stdout, end="")
"""
COLUMN = tuple(ARCHES).index(os.uname().machine) if os.uname().machine in ARCHES else None


def program() -> str:
    numbers = [numbers[COLUMN] for numbers in DENIED.values() if numbers[COLUMN] is not None]
    return PROGRAM.format(numbers=numbers)


def check_output(result: subprocess.CompletedProcess) -> None:
    assert result.returncode == 0, result.stderr
    *codes, network, thread, child = result.stdout.split("\n")[:-1]
    assert set(codes) == {str(errno.EPERM)}
    assert (network, thread, child) == ("no network", "thread", "child")


@pytest.mark.skipif(COLUMN is None, reason="no list of calls for this machine")
def test_an_installed_filter_holds_and_lets_honest_programs_run():
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "from toolchain.seccomp import filter_bytes, install; install(filter_bytes())\n"
    result = subprocess.run([sys.executable, "-c", code + program()], capture_output=True, text=True, timeout=30)
    check_output(result)


@pytest.mark.skipif(COLUMN is None, reason="no list of calls for this machine")
@pytest.mark.skipif(bubblewrap_problem() is not None, reason="bubblewrap does not work here")
def test_bubblewrap_loads_the_filter():
    descriptor = filter_fd()
    argv = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--unshare-all", "--seccomp", str(descriptor)]
    try:
        result = subprocess.run(
            [*argv, "/usr/bin/python3", "-c", program()],
            capture_output=True,
            text=True,
            timeout=30,
            pass_fds=[descriptor],
        )
    finally:
        os.close(descriptor)
    check_output(result)
