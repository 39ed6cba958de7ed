# SPDX-License-Identifier: Apache-2.0
"""What an uploader that watches a tree sees: inotify on every directory, by ctypes."""
import collections
import ctypes
import os
import pathlib
import struct

_libc = ctypes.CDLL(None, use_errno=True)
MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
ISDIR, Q_OVERFLOW = 0x40000000, 0x4000

Event = collections.namedtuple("Event", "mask directory name")


class Watch:
    """All events below root since it was made, hidden directories included. Directories that come are watched from the
    moment on in which they are read."""

    def __init__(self, test, root):
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0
        test.addCleanup(os.close, self.fd)
        self.root, self.directories, self.events = pathlib.Path(root), {}, []
        for directory, _, _ in os.walk(root):
            self._add(directory)

    def _add(self, directory):
        wd = _libc.inotify_add_watch(self.fd, os.fsencode(directory),
                                     MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE)
        assert wd >= 0, directory
        self.directories[wd] = pathlib.Path(directory)

    def read(self):
        """All events so far."""
        while True:
            try:
                data = os.read(self.fd, 1 << 16)
            except BlockingIOError:
                return self.events
            at = 0
            while at < len(data):
                wd, mask, _, length = struct.unpack_from("iIII", data, at)
                assert not mask & Q_OVERFLOW
                name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
                at += 16 + length
                if wd not in self.directories:
                    continue
                self.events.append(Event(mask, self.directories[wd], name))
                if mask & CREATE and mask & ISDIR:
                    self._add(self.directories[wd] / name)
