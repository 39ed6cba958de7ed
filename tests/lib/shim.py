# SPDX-License-Identifier: Apache-2.0
"""The test's side of tests/shim/shim.c: calls that fail or stall in the real programs, and a wall clock that steps."""
import errno
import mmap
import os
import struct

import family

LIBRARY = family.BIN.parent / "tests/shim/shim.so"
# offsets in struct state
PROGRAM, CALL, CALLS, FAIL, ERROR, EVER, STALL, STALLS, WALL = 0, 32, 64, 68, 72, 76, 80, 84, 88


class Shim:
    """env goes to the Family; the rest may be changed while it runs."""

    def __init__(self, test, work):
        if family.SANITIZED:
            test.skipTest("a sanitizer's runtime must come first: no preloading")
        if not LIBRARY.exists():
            test.skipTest(f"{LIBRARY} was not built: make test-programs")
        path = work / "shim"
        path.write_bytes(bytes(96))
        os.chmod(path, 0o666)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 96)
        test.addCleanup(self.map.close)
        self.env = {"LD_PRELOAD": str(LIBRARY), "SHIM_STATE": str(path)}

    def _set(self, at, value, form="=I"):
        struct.pack_into(form, self.map, at, value)

    def _get(self, at):
        return struct.unpack_from("=I", self.map, at)[0]

    def fail(self, program, call, number, error=errno.EIO, ever=False):
        """Call `number` (from 1) of the programs of that name fails; counting begins anew."""
        self._set(FAIL, 0)
        self.map[PROGRAM:PROGRAM + 32] = program.encode().ljust(32, b"\0")
        self.map[CALL:CALL + 32] = call.encode().ljust(32, b"\0")
        for at, value in ((CALLS, 0), (ERROR, error), (EVER, ever), (FAIL, number)):
            self._set(at, value)

    @property
    def calls(self):
        return self._get(CALLS)

    def stall(self, program):
        self.map[PROGRAM:PROGRAM + 32] = program.encode().ljust(32, b"\0")
        self._set(STALL, 1)

    @property
    def stalls(self):
        return self._get(STALLS)

    def go_on(self):
        self._set(STALL, 0)

    def step_clock(self, ns):
        """The wall clock is so far from the machine's from now on, for programs and for the times of packets."""
        self._set(WALL, ns, "=q")
