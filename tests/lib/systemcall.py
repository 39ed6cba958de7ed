# SPDX-License-Identifier: Apache-2.0
"""Makes a running process call the kernel, as code that took it over would: ptrace(2), by root, on x86-64.

The main thread is stopped, its registers are set to a system call at a `syscall` instruction of its own code, stepped
once and put back. Failure policy: what the tracer cannot do is an OSError; the fate of the call is the result.
"""
import collections
import ctypes
import errno
import os
import pathlib
import platform
import struct

CONT, STEP, GETREGS, SETREGS, DETACH, SEIZE, INTERRUPT = 7, 9, 12, 13, 17, 0x4206, 0x4207
EVENT_STOP = 128
WALL = 0x40000000
WORDS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es "
         "fs gs").split()  # struct user_regs_struct
AT = {word: i for i, word in enumerate(WORDS)}
NUMBERS = {"close": 3, "socket": 41, "getpid": 39, "execve": 59, "ptrace": 101, "openat": 257}
LANDLOCK_CREATE_RULESET = 444
AT_FDCWD = -100

Fate = collections.namedtuple("Fate", "killed result")  # the signal it died of, or None; the kernel's answer, or None

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def possible():
    return platform.machine() == "x86_64"


def landlock():
    """Has this kernel a Landlock that shardcap uses?"""
    return libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) >= 2


def _ptrace(request, pid, data=None):
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace request {request}")


def _registers(pid):
    words = (ctypes.c_ulonglong * len(WORDS))()
    _ptrace(GETREGS, pid, words)
    return words


def _instruction(pid, memory):
    """Where a `syscall` instruction stands in its code."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights = line.split()[:2]
        if rights != "r-xp" or line.endswith("[vsyscall]"):
            continue
        start, end = (int(n, 16) for n in span.split("-"))
        memory.seek(start)
        at = memory.read(end - start).find(b"\x0f\x05")
        if at >= 0:
            return start + at
    raise OSError(errno.ENOENT, "no system call in the code of the process")


def _step(pid, memory, name, args):
    saved = _registers(pid)
    now = _registers(pid)
    low = now[AT["rsp"]] - 4096  # below what the function at work may use of its stack
    for register, arg in zip(("rdi", "rsi", "rdx", "r10"), args):
        if isinstance(arg, str):
            memory.seek(low)
            memory.write(arg.encode() + b"\0")
            now[AT[register]] = low
            low += len(arg) + 1
        else:
            now[AT[register]] = arg & 0xFFFFFFFFFFFFFFFF
    now[AT["rax"]], now[AT["orig_rax"]] = NUMBERS[name], 0xFFFFFFFFFFFFFFFF
    now[AT["rip"]] = _instruction(pid, memory)
    _ptrace(SETREGS, pid, now)
    _ptrace(STEP, pid)
    _, status = os.waitpid(pid, WALL)
    if os.WIFSIGNALED(status):
        return Fate(os.WTERMSIG(status), None)
    result = struct.unpack("<q", struct.pack("<Q", _registers(pid)[AT["rax"]]))[0]
    _ptrace(SETREGS, pid, saved)
    return Fate(None, result)


def make(pid, name, *args):
    """Fate of the call `name` (of NUMBERS) with integers and strings, made by the main thread of pid."""
    _ptrace(SEIZE, pid)
    alive = True
    try:
        _ptrace(INTERRUPT, pid)
        while True:
            _, status = os.waitpid(pid, WALL)
            if not os.WIFSTOPPED(status):
                alive = False
                raise OSError(errno.ESRCH, "the process ended before the call")
            if status >> 16 == EVENT_STOP:
                break
            libc.ptrace(CONT, pid, None, os.WSTOPSIG(status))  # a signal of its own comes first
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            fate = _step(pid, memory, name, args)
        alive = fate.killed is None
        return fate
    finally:
        if alive:
            libc.ptrace(DETACH, pid, None, None)
