"""A system-call filter for commands in the sandbox: a classic BPF program that bubblewrap or `install` loads.

A deny-list: it takes away what no simulator, compiler or Python test needs and what kernel exploits and escapes start
with. It does not hide files or bound resources: namespaces and rlimits do. Standard library only, so that a small
process inside the sandbox can use it.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from toolchain.errors import InfrastructureError

_AUDIT_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h

# name -> number on x86_64, on aarch64 (None: that machine has no such call)
DENIED: dict[str, tuple[int | None, int | None]] = {
    # the file system's shape, and new namespaces in which one would be root
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # wide doors into the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "personality": (135, 92),
    # the machine
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # what would outlive the process that made it: keys, and System V and POSIX queues and segments
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
LAST_KNOWN = 450  # calls after it are newer than this list: answered as an older kernel would, with ENOSYS
NEW_NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
AF_UNIX = 1

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # offsets in struct seccomp_data; little-endian low words
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def filter_bytes(machine: str | None = None) -> bytes:
    """The program as the bytes of an array of `struct sock_filter`, as `bwrap --seccomp FD` reads it.

    `machine` is `os.uname().machine`, and this machine's by default. Denied calls fail with EPERM, unknown newer
    ones and clone3 (whose flags a filter cannot read; libraries then use clone) with ENOSYS, calls of another
    architecture end the process. Raises InfrastructureError for a machine that has no list of numbers here.
    """
    machine = machine or os.uname().machine
    if machine not in _AUDIT_ARCHES:
        raise InfrastructureError(
            f"no system-call filter is known for {machine}, only for {', '.join(_AUDIT_ARCHES)}; use isolation rlimits."
        )
    column = tuple(_AUDIT_ARCHES).index(machine)
    denied = sorted(numbers[column] for numbers in DENIED.values() if numbers[column] is not None)
    program = _program(_AUDIT_ARCHES[machine], denied, column)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def has_filter() -> bool:
    """Whether there is a program for this machine."""
    return os.uname().machine in _AUDIT_ARCHES


def filter_fd() -> int:
    """A new descriptor of a memory file that holds the program, at its start. The caller closes it."""
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(descriptor, filter_bytes())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def install(program: bytes) -> None:
    """Hold the calling thread, and all that it starts from now on, to a program of `filter_bytes`. Cannot be undone.

    Also gives up new privileges (set-user-id programs), which the kernel asks for. Raises InfrastructureError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))  # struct sock_fprog
    arguments = (ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *arguments) != 0:
        raise InfrastructureError(f"new privileges could not be given up: {os.strerror(ctypes.get_errno())}.")
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.c_char_p(header)) != 0:
        raise InfrastructureError(
            f"the kernel refused the system-call filter: {os.strerror(ctypes.get_errno())}. Its configuration needs"
            " CONFIG_SECCOMP_FILTER; use isolation rlimits or a container without it."
        )


def _program(audit_arch: int, denied: Sequence[int], column: int) -> list[_Instruction]:
    """Each rule returns or falls to the next. The kernel compiles the whole and remembers which calls it allows."""
    return [
        (_LOAD, 0, 0, _ARCH_AT),
        (_JUMP_EQUAL, 1, 0, audit_arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
        *_answer_if((_JUMP_AT_LEAST, 0, 1, LAST_KNOWN + 1), errno.ENOSYS),  # x32 numbers, from 2**30 on, are here too
        *_answer_if((_JUMP_EQUAL, 0, 1, CLONE3[column]), errno.ENOSYS),
        *(rule for number in denied for rule in _answer_if((_JUMP_EQUAL, 0, 1, number), errno.EPERM)),
        *_first_argument_rule(CLONE[column], (_JUMP_ANY_BIT, 0, 1, NEW_NAMESPACE_FLAGS)),
        *_first_argument_rule(SOCKET[column], (_JUMP_EQUAL, 1, 0, AF_UNIX)),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _answer_if(test: _Instruction, error: int) -> tuple[_Instruction, _Instruction]:
    return test, (_RETURN, 0, 0, _FAIL | error)


def _first_argument_rule(number: int, test: _Instruction) -> tuple[_Instruction, ...]:
    """For the call `number`: EPERM where `test` of its first argument falls to the next instruction, else allowed."""
    return (
        (_JUMP_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        test,
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    )
