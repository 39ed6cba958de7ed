# SPDX-License-Identifier: Apache-2.0
"""Real TCP between two namespaces: a file server over HTTP, a bulk transfer, and a tcpdump beside it."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import family
import netns
import pcapgen
import strictpcap

SO_COOKIE = 57


class Server:
    """Answers each connection in the namespace: `GET n` gets n bytes. Before the answer, on_accept(uuid, local, peer)
    is called with the name that tcp-info would give: <prefix>_<cookie in hex>."""

    def __init__(self, test, namespace, address="0.0.0.0", prefix="test-host_1700000000", on_accept=None):
        self.prefix, self.on_accept, self.uuids = prefix, on_accept, {}

        def listen():
            s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, 0))
            s.listen(128)
            return s
        self.listener = netns.inside(namespace.name, listen)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self.close)

    def _accept(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, connection, peer):
        with connection:
            cookie = struct.unpack("=Q", connection.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
            local = connection.getsockname()
            uuid = f"{self.prefix}_{cookie:016X}"
            self.uuids[(peer[0], peer[1])] = uuid
            if self.on_accept:
                self.on_accept(uuid, local, peer, cookie)
            wanted = int(connection.recv(64).split()[1])
            sent = 0
            while sent < wanted:
                sent += connection.send(pcapgen.canary(min(65536, wanted - sent)))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def fetch(namespace, address, port, size):
    """One connection; returns the local (address, port)."""
    def go():
        with socket.create_connection((address, port), timeout=30) as s:
            local = s.getsockname()[:2]
            s.sendall(b"GET %d\n" % size)
            got = 0
            while chunk := s.recv(1 << 20):
                got += len(chunk)
            assert got == size, (got, size)
            return local
    return netns.inside(namespace.name, go)


@contextlib.contextmanager
def halved(namespace, address, port, size):
    """A fetch that stops in the middle for as long as the block takes."""
    half, go_on, failure = threading.Event(), threading.Event(), []

    def go():
        with socket.create_connection((address, port), timeout=60) as s:
            s.sendall(b"GET %d\n" % size)
            got = 0
            while got < size // 2:
                got += len(s.recv(10_000))
            half.set()
            go_on.wait(60)
            while chunk := s.recv(65536):
                got += len(chunk)
            assert got == size, (got, size)

    def run():
        try:
            netns.inside(namespace.name, go)
        except Exception as e:  # told to the test below
            failure.append(e)
            half.set()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert half.wait(60), "the first half did not come"
        if failure:
            raise failure[0]
        yield
    finally:
        go_on.set()
        thread.join()
    if failure:
        raise failure[0]


def announce(events):
    """An on_accept that tells an EventServer."""
    def accepted(uuid, local, peer, cookie):
        events.emit(pcapgen.event_line(uuid, time.time_ns(), local[0], local[1], peer[0], peer[1], cookie))
    return accepted


class Tcpdump:
    """tcpdump of the same interface, with the same snaplen; stop() returns its records."""

    def __init__(self, test, namespace, interface, path, snaplen=256, expression="tcp"):
        self.path, self.log = pathlib.Path(path), pathlib.Path(f"{path}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*netns.enter(namespace.name), "tcpdump", "-Z", "root", "-B", "65536", "-p", "-U", "--immediate-mode", "-n", "-i", interface,
                 "-s", str(snaplen), "--nano", "-w", str(self.path), expression],
                stdout=subprocess.DEVNULL, stderr=log, stdin=subprocess.DEVNULL)
        test.addCleanup(self._end)
        family.until(lambda: "listening on" in self.log.read_text(), "tcpdump listens",
                     log=lambda: self.log.read_text())

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        # When told to end it leaves behind what is still in its kernel buffer: wait until nothing more arrives.
        size = -1
        while size != self.path.stat().st_size:
            size = self.path.stat().st_size
            time.sleep(0.3)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        dropped = re.search(r"(\d+) packets? dropped by kernel", self.log.read_text())
        assert dropped and dropped.group(1) == "0", self.log.read_text()
        return strictpcap_records(self.path)


def strictpcap_records(path):
    """Records of tcpdump's own nanosecond savefile."""
    raw = path.read_bytes()
    out, at = [], 24
    assert raw[:4] == b"\x4d\x3c\xb2\xa1", raw[:4]
    while at < len(raw):
        sec, nsec, caplen, wire_len = struct.unpack_from("<IIII", raw, at)
        out.append(strictpcap.Record(sec * 10**9 + nsec, wire_len, raw[at + 16:at + 16 + caplen]))
        at += 16 + caplen
    return out


def headers(records):
    """{(low end, high end): [(ts, wire_len, bytes up to the end of the TCP header)]} of Ethernet IPv4/IPv6 records; an
    end is (address bytes, port)."""
    out = {}
    for r in records:
        kind = struct.unpack_from(">H", r.data, 12)[0]
        if kind == 0x0800:
            l4 = 14 + (r.data[14] & 15) * 4
            src, dst = r.data[26:30], r.data[30:34]
        else:
            assert kind == 0x86DD, hex(kind)
            l4 = 54
            src, dst = r.data[22:38], r.data[38:54]
        sport, dport = struct.unpack_from(">HH", r.data, l4)
        end = l4 + (r.data[l4 + 12] >> 4) * 4
        key = tuple(sorted([(src, sport), (dst, dport)]))
        out.setdefault(key, []).append((r.ts, r.wire_len, r.data[:end]))
    return out


def check_same_headers(test, run, dumped):
    """The files of the run hold what tcpdump saw, flow by flow and once; times aside, which are each socket's own."""
    saved = headers([r for f in run.files().values() for r in f.records])
    test.assertEqual({k: sorted(r[1:] for r in v) for k, v in saved.items()},
                     {k: sorted(r[1:] for r in v) for k, v in headers(dumped).items()})


def have(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") is not None
