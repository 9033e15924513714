"""Becomes a program that may do less: refused system calls, another user, little locked memory, as containers have it.

confined.py [--refuse NAME=ERRNO]... [--user UID] [--memlock BYTES] PROGRAM [ARGUMENT]...
The refusals are a seccomp filter, which everything that the program starts inherits.
"""

import argparse
import ctypes
import errno
import os
import platform
import resource
import struct

# From asm/unistd.h; what is newer than 5.1 has one number everywhere.
NUMBERS = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "clone3": 435,
    "openat2": 437,
    "epoll_pwait2": 441,
    "cachestat": 451,
    **{
        "x86_64": {"sched_setaffinity": 203, "fallocate": 285, "renameat2": 316, "copy_file_range": 326, "preadv2": 327, "statx": 332},
        "aarch64": {"sched_setaffinity": 122, "fallocate": 47, "renameat2": 276, "copy_file_range": 285, "preadv2": 286, "statx": 291},
    }.get(platform.machine(), {}),
}
# From linux/bpf_common.h, linux/seccomp.h and linux/prctl.h.
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


class Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_char_p)]


def step(code, operand, if_not=0):
    """`struct sock_filter` of linux/filter.h."""
    return struct.pack("=HBBI", code, 0, if_not, operand)


def refuse(refusals):
    """From here on each of these calls fails with its errno."""
    # `struct seccomp_data` begins with the number of the call.
    steps = [step(LOAD_WORD, 0)]
    for name, code in refusals:
        steps += [step(JUMP_IF_EQUAL, NUMBERS[name], if_not=1), step(RETURN, SECCOMP_RET_ERRNO | code)]
    steps.append(step(RETURN, SECCOMP_RET_ALLOW))
    program = Program(len(steps), b"".join(steps))
    control = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in [(PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program))]:
        if control(*arguments, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def become(user):
    """The user and a group of the same number, without any capability."""
    if user != os.geteuid():
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def refusal(text):
    name, code = text.split("=")
    return name, getattr(errno, code)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--refuse", action="append", type=refusal, default=[])
    parser.add_argument("--user", type=int)
    parser.add_argument("--memlock", type=int)
    parser.add_argument("program", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.memlock is not None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (asked.memlock, asked.memlock))
    if asked.user is not None:
        become(asked.user)
    if asked.refuse:
        refuse(asked.refuse)
    os.execv(asked.program[0], asked.program)


if __name__ == "__main__":
    main()
