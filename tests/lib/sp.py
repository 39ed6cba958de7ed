# SPDX-License-Identifier: Apache-2.0
"""The wire form of nanomsg's ipc transport (SP over a unix stream socket), spoken by hand: a requester that asks again
when its peer dies, and peers that break the protocol."""
import itertools
import socket
import struct
import time

PUSH, SUB, REQ, REP = 0x50, 0x21, 0x30, 0x31
MESSAGE = 1  # the only type byte there is


def header(protocol):
    return b"\0SP\0" + struct.pack(">HH", protocol, 0)


def frame(payload, kind=MESSAGE):
    return bytes([kind]) + struct.pack(">Q", len(payload)) + payload


def connect(path, protocol, timeout=10):
    """A connected socket behind both headers; waits until somebody listens."""
    deadline = time.monotonic() + timeout
    while True:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(timeout)
        try:
            s.connect(str(path))
            s.sendall(header(protocol))
            if exactly(s, 8)[:4] == b"\0SP\0":
                return s
        except OSError:
            pass
        s.close()
        if time.monotonic() > deadline:
            raise AssertionError(f"nobody answers at {path}")
        time.sleep(0.01)


def exactly(s, n):
    out = b""
    while len(out) < n:
        piece = s.recv(n - len(out))
        if not piece:
            raise ConnectionResetError("the peer is gone")
        out += piece
    return out


class Requester:
    """ask() gives the answer, whatever dies meanwhile: as nanomsg's REQ does, it sends again on a new connection."""
    _numbers = itertools.count(1)

    def __init__(self, path):
        self.path, self.socket, self.again = path, None, 0

    def ask(self, text, timeout=30):
        number = struct.pack(">I", 0x80000000 | next(self._numbers))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                if not self.socket:
                    self.socket = connect(self.path, REQ)
                self.socket.sendall(frame(number + text.encode()))
                kind, length = struct.unpack(">BQ", exactly(self.socket, 9))
                answer = exactly(self.socket, length)
                assert kind == MESSAGE and answer[:4] == number, answer[:40]
                return answer[4:].decode()
            except OSError:
                self.close()
                self.again += 1
        raise AssertionError(f"no answer to {text[:60]!r}")

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None
