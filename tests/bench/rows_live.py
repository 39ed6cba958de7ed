# SPDX-License-Identifier: Apache-2.0
"""Rows on live traffic: two network namespaces joined by a veth pair; a generator in one, shardcap in the other.

UUIDs come from a small stand-in for tcp-info's event socket, in its wire form. Needs the right to make namespaces.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import measure
import need
import rows_family
from measure import NotMeasured, Row, Unfit, verdict

FLOWS = 1000
REFERENCE_CPU = "24-28"


class EventServer(threading.Thread):
    """Announces `flows` flows of bench_send to whoever connects."""

    def __init__(self, path, flows):
        super().__init__(daemon=True)
        self.flows = flows
        self.sent = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(4)

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            now = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime())
            for flow in range(self.flows):
                line = {"Event": 0, "Timestamp": now, "UUID": f"bench_{flow:016X}",
                        "ID": {"SPort": 443, "DPort": 10000 + flow % 50000, "SrcIP": "192.0.2.1",
                               "DstIP": f"10.0.0.{1 + flow // 50000}", "Interface": 0, "Cookie": flow}}
                peer.sendall(json.dumps(line).encode() + b"\n")
            self.sent.set()
            self.peer = peer  # stays open


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)


@contextlib.contextmanager
def wire():
    """Names of two namespaces; interface `sender` in the first, `taker` in the second."""
    if not need.has_netns():
        raise NotMeasured("network namespaces cannot be made here")
    a, b = f"scbench{os.getpid()}a", f"scbench{os.getpid()}b"
    try:
        ip("netns", "add", a)
        ip("netns", "add", b)
        ip("-n", a, "link", "add", "sender", "type", "veth", "peer", "name", "taker")
        ip("-n", a, "link", "set", "taker", "netns", b)
        for space, name in ((a, "sender"), (b, "taker"), (b, "lo")):
            ip("-n", space, "link", "set", name, "up")
        yield a, b
    finally:
        for space in (a, b):
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL, timeout=20)


def wait_for(condition, what, seconds=15):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Unfit(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def capturing(space):
    out = subprocess.run(["ip", "netns", "exec", space, "cat", "/proc/net/packet"], stdout=subprocess.PIPE, timeout=20)
    return out.stdout.count(b"\n") > 1


class Capture:
    """shardcap on the taker's end. Used as a context: starts, and is stopped and checked by stop()."""

    def __init__(self, m, space, scratch, *extra):
        self.scratch = pathlib.Path(scratch)
        server = EventServer(self.scratch / "tcpevents.sock", FLOWS)
        server.start()
        self.server = server
        self.log = open(self.scratch / "log", "wb")
        self.start = time.monotonic()
        self.child = subprocess.Popen(
            ["ip", "netns", "exec", space, m.shardcap(), "-interface=taker", "-datadir", self.scratch / "data",
             "-rundir", self.scratch / "run", "-uuid.source=eventsocket", "-tcpinfo.eventsocket",
             self.scratch / "tcpevents.sock", "-captureduration=120s", "-uuidwaitduration=60s", "-summary",
             self.scratch / "summary.json", "-prometheusx.listen-address=127.0.0.1:0", "-filter.raw=tcp", *extra],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            wait_for(lambda: self.child.poll() is not None or capturing(space), "the capture to open")
            if self.child.poll() is not None:
                last = (self.scratch / "log").read_text(errors="replace").strip().splitlines()[-1:]
                raise Unfit(f"shardcap exited with {self.child.returncode}: {' '.join(last)}")
            wait_for(server.sent.is_set, "a client on the event socket")
            time.sleep(0.5)  # events are on their way to the shards
        except BaseException:
            self.child.kill()
            self.child.wait()
            raise

    def resident(self):
        return rows_family.resident(self.child.pid)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        used = measure.finish(self.child, self.start)
        self.server.listener.close()
        self.log.close()
        if used.status != 0:
            raise Unfit(f"shardcap exited with {used.status}")
        return used, measure.summary(self.scratch / "summary.json")


def send(m, space, packets, rate, *extra):
    return subprocess.Popen(["ip", "netns", "exec", space, m.program("bench_send"), "sender", str(packets), str(rate),
                             str(FLOWS), *extra], stdout=subprocess.PIPE)


def sent(child):
    out, _ = child.communicate(timeout=measure.RUN_LIMIT)
    if child.returncode != 0:
        raise Unfit(f"the generator exited with {child.returncode}")
    return json.loads(out)


def one_rate(m, spaces, rate, seconds, *extra):
    """Returns (packets a second really sent, packets sent, CPU s of the family, summary, bytes on disk)."""
    packets = int(rate * seconds)
    with m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, *extra)
        out = sent(send(m, spaces[0], packets, rate))
        used, told = capture.stop()
        return out["packets_per_second"], packets, used.cpu, told, measure.bytes_in(capture.scratch / "data")


def cpu(m):
    rate, seconds = 100_000, m.count(10)
    with wire() as spaces:
        for codec, goal in (("zlib", 1.0), ("auto", 0.5)):
            runs = sorted((one_rate(m, spaces, rate, seconds, f"-gzip={codec}") for _ in range(m.runs)),
                          key=lambda r: r[2] / max(r[3].saved, 1))
            _, packets, used, told, size = runs[len(runs) // 2]
            saved = told.saved
            if saved != packets:
                raise Unfit(f"{saved} of {packets} packets saved; drops: {measure.losses(told)}")
            each = used / saved * 1e6
            yield Row("P1", f"CPU s per million packets, live, 1,000 flows with UUIDs, {rate:,} pps, -gzip={codec}",
                      f"{each:.2f} s, {size / saved:.2f} bytes/packet", f"<= {goal} (reference {REFERENCE_CPU})",
                      verdict(each <= goal), values={"cpu_s_per_million": each, "bytes": size, "packets": saved})


def highest_rate(m):
    best, first_loss = 0, ""
    with wire() as spaces:
        for rate in (50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000):
            real, packets, _, told, _ = one_rate(m, spaces, rate, m.count(5), "-gzip=auto")
            if told.saved != packets:
                first_loss = (f"at {real:,.0f} pps {packets - told.saved:,} of {packets:,} packets were lost: "
                              f"{measure.losses(told)}")
                break
            best = max(best, real)
            if real < 0.9 * rate:
                first_loss = "the generator does not reach more on this machine"
                break
    yield Row("P2", "highest offered rate with no packet lost anywhere, generator included", f"{best:,.0f} pps",
              ">= 800,000 pps (reference < 20,000)", verdict(best >= 800_000), first_loss, {"pps": best})


def flood(m):
    seconds = m.count(10)
    with wire() as spaces, m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, "-maxheap=256MB", "-flowtimeout=5s")
        packets = 20_000 * seconds
        good = send(m, spaces[0], packets, 20_000)
        bad = send(m, spaces[0], 200_000 * seconds, 200_000, "syn")
        most = 0
        while good.poll() is None or bad.poll() is None:
            most = max(most, capture.resident())
            time.sleep(0.1)
        sent(good)
        rate = sent(bad)["packets_per_second"]
        _, told = capture.stop()
        in_files = measure.packets_in(capture.scratch / "data")
        yield Row("P6", f"SYN flood at {rate:,.0f}/s from distinct sources beside 1,000 flows with UUIDs",
                  f"{in_files:,} of {packets:,} packets of the 1,000 flows saved", "all, memory <= budget",
                  verdict(in_files == packets), f"budget 256 MB, whole family resident at most {most / 1e6:.0f} MB; drops of all traffic: "
                  f"{measure.losses(told)}",
                  {"saved": in_files, "offered": packets, "resident": most, "lost": told.lost})


ROWS = [("live CPU", cpu, "P1"), ("live rate", highest_rate, "P2"), ("flood", flood, "P6")]
