# SPDX-License-Identifier: Apache-2.0
"""Rows on live traffic: two network namespaces joined by a veth pair; a generator in one, shardcap in the other.

UUIDs come from a small stand-in for tcp-info's event socket, in its wire form. Needs the right to make namespaces.
"""
import collections
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import threading
import time

import measure
import need
import netns
import rows_family
from measure import NotMeasured, Row, Unfit, verdict
from rows_family import wait_until

FLOWS = 1000
REFERENCE_CPU = "24-28"


class EventServer(threading.Thread):
    """Announces `flows` flows of bench_send to whoever connects."""

    def __init__(self, path, flows):
        super().__init__(daemon=True)
        self.flows, self.connected = flows, False
        self.go, self.sent = threading.Event(), threading.Event()
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
            self.connected = True
            self.go.wait()
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


class Capture:
    """shardcap on the taker's end, all flows announced; to be ended by stop() or, when something failed, kill().

    announced=False: announce() is called later. A shard keeps at most 65,536 names of flows that it has not seen."""

    def __init__(self, m, space, scratch, *extra, flows=FLOWS, announced=True):
        self.scratch, self.space, self.flows = pathlib.Path(scratch), space, flows
        server = EventServer(self.scratch / "tcpevents.sock", flows)
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
            self.port = rows_family.port_of(self.scratch / "log", self.child)
            # Its own word: the socket exists before its filter stands, and what comes in between counts nowhere.
            wait_until(self.captures, "the capture to open", self.child)
            wait_until(lambda: server.connected, "a client on the event socket", self.child)
            if announced:
                self.announce()
        except BaseException:
            self.kill()
            raise

    def captures(self):
        try:
            return self.metric("shardcap_interface_up") >= 1
        except (OSError, Unfit, http.client.HTTPException):  # not listed yet
            return False

    def announce(self):
        """Names all flows, and waits until the shards have taken all names."""
        self.server.go.set()
        wait_until(lambda: self.metric("pcap_demuxer_uuids_total") >= self.flows, "all names to arrive", self.child)

    def metric(self, name):
        return netns.inside(self.space, rows_family.metric, self.port, name)

    def shard_pid(self):
        for pid in pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split():
            if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"shardcap-shard"):
                return int(pid)
        raise Unfit("no shard process")

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.server.listener.close()
        self.log.close()

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


def send(m, space, packets, rate, *extra, flows=FLOWS):
    return subprocess.Popen(["ip", "netns", "exec", space, m.program("bench_send"), "sender", str(packets), str(rate),
                             str(flows), *extra], stdout=subprocess.PIPE)


def sent(child):
    out, _ = child.communicate(timeout=measure.RUN_LIMIT)
    if child.returncode != 0:
        raise Unfit(f"the generator exited with {child.returncode}")
    return json.loads(out)


def received(space):
    """Packets that the taker's interface has counted: what was really offered."""
    shown = subprocess.run(["ip", "-n", space, "-s", "-j", "link", "show", "taker"], check=True, stdout=subprocess.PIPE,
                           timeout=20)
    return json.loads(shown.stdout)[0]["stats64"]["rx"]["packets"]


Rate = collections.namedtuple("Rate", "pps packets cpu told bytes")


def one_rate(m, spaces, rate, seconds, *extra):
    """Traffic at a rate: what came of it. pps is by the counter of the interface."""
    packets = int(rate * seconds)
    with m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, *extra)
        try:
            before = received(spaces[1])
            out = sent(send(m, spaces[0], packets, rate))
            offered = received(spaces[1]) - before
            used, told = capture.stop()
        except BaseException:
            capture.kill()
            raise
        if told.delivered + told.kernel_dropped != packets:
            raise Unfit(f"{packets} packets sent, {told.delivered} delivered, {told.kernel_dropped} dropped in the kernel")
        measure.verify(m, capture.scratch / "data", capture.scratch / "summary.json")
        return Rate(out["packets_per_second"] * offered / packets, packets, used.cpu, told,
                    measure.bytes_in(capture.scratch / "data"))


def cpu_row(m, spaces, rate, goal, what):
    # Start and stop cost the same whatever comes in between: a run of one packet tells how much.
    still = statistics.median(one_rate(m, spaces, rate, 1 / rate, "-gzip=auto").cpu for _ in range(m.runs))
    seconds = m.count(10 if rate < 50_000 else 5)
    runs = sorted((one_rate(m, spaces, rate, seconds, "-gzip=auto") for _ in range(m.runs)),
                  key=lambda r: r.cpu / max(r.told.saved, 1))
    r = runs[len(runs) // 2]
    title = f"CPU s per million packets, live, 1,000 flows with UUIDs, {rate:,} pps, -gzip=auto, {what}"
    if r.pps < 0.9 * rate:
        return Row("P1", title, "NOT MEASURED", f"<= {goal}", note=f"the generator reached {r.pps:,.0f} pps only")
    lost = max(x.packets - x.told.saved for x in runs)
    each = max(r.cpu - still, 0) / max(r.told.saved, 1) * 1e6
    return Row("P1", title, f"{each:.2f} s, {r.bytes / max(r.told.saved, 1):.2f} bytes/packet",
               f"<= {goal} (reference {REFERENCE_CPU})", verdict(each <= goal and lost == 0),
               f"{r.packets // FLOWS:,} packets a flow, one file for each; start and stop of the family, {still:.2f} s, "
               f"taken off; at most {lost:,} packets lost: {measure.losses(runs[-1].told)}",
               {"cpu_s_per_million": each, "bytes": r.bytes, "packets": r.told.saved, "pps": r.pps, "codecs": what,
                "lost": lost})


def cpu(m):
    with wire() as spaces:
        for rate in (20_000, 100_000):
            codecs = m.codecs()
            yield cpu_row(m, spaces, rate, 0.5 if "ISA-L" in codecs else 1.0, codecs)
            try:
                with m.plain():
                    yield cpu_row(m, spaces, rate, 1.0, m.codecs())
            except NotMeasured as e:
                yield Row("P1", f"the same at {rate:,} pps with zlib alone", "NOT MEASURED", "<= 1.0", note=str(e))


RATES = (50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000)
FIRST_RATE = 2  # where the search begins: upwards if that is good, else from the lowest


def search_rate(m, spaces, rates=RATES[FIRST_RATE:]):
    """(highest rate without a loss in any of the runs, what stopped the search)."""
    best, stopped = 0, ""
    for rate in rates:
        r = one_rate(m, spaces, rate, m.count(3))
        if r.told.saved != r.packets:
            stopped = f"at {r.pps:,.0f} pps {r.packets - r.told.saved:,} of {r.packets:,} were lost: {measure.losses(r.told)}"
            break
        if r.pps < 0.9 * rate:
            stopped = f"NOT MEASURED beyond: asked for {rate:,}, the generator reached {r.pps:,.0f}"
            best = max(best, r.pps)
            break
        best = r.pps
    if best == 0 and rates != RATES:
        return search_rate(m, spaces, RATES)
    for _ in range(m.runs - 1):  # once may be luck
        r = one_rate(m, spaces, int(best), m.count(3)) if best else None
        if r and r.told.saved != r.packets:
            stopped = f"again at {r.pps:,.0f} pps {r.packets - r.told.saved:,} were lost: {measure.losses(r.told)}"
            best = max([rate for rate in RATES if rate < 0.9 * best], default=0)
    return best, stopped


def alone(m, spaces):
    """The generator as fast as it can with nobody capturing: what this machine's kernel leaves room for."""
    runs = [sent(send(m, spaces[0], m.count(1_000_000), 100_000_000)) for _ in range(m.runs)]
    return (statistics.median(r["packets_per_second"] for r in runs),
            statistics.median(r["cpu_ns_per_packet"] for r in runs))


def highest_rate(m):
    with wire() as spaces:
        free, each = alone(m, spaces)
        m.lossless, stopped = search_rate(m, spaces)
    reached = verdict(m.lossless >= 800_000)
    if reached == "MISSED" and stopped.startswith("NOT MEASURED"):
        reached = "NOT MEASURED"
    yield Row("P2", "highest offered rate with no packet lost anywhere, generator included", f"{m.lossless:,.0f} pps",
              ">= 800,000 pps (reference < 20,000)", reached,
              f"{m.runs} runs at that rate without a loss; {stopped}; the generator alone, nobody capturing: {free:,.0f} "
              f"pps, {each:,.0f} ns of CPU a packet, veth and receive path included",
              {"pps": m.lossless, "stopped": stopped, "generator_alone_pps": free, "generator_ns": each})


def kill_and_wait(capture):
    """Kills the only shard; ms until the next packet is consumed, as /metrics shows it."""
    pid, start = capture.shard_pid(), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "its end", capture.child, every=0.001)
    before = capture.metric(rows_family.CONSUMED)
    wait_until(lambda: capture.metric(rows_family.CONSUMED) > before, "the next packet", capture.child, every=0.001)
    return (time.monotonic() - start) * 1000


def killed_once(m, spaces, flows, rate, kill=True):
    """(ms from the kill of the only shard to the next packet consumed, packets lost, how, rate). kill=False: the same
    traffic undisturbed, to tell what the kill itself costs."""
    packets = max(int(rate * m.count(6)), 5 * flows)
    took = 0
    with m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, "-shards=1", "-gzip=auto", flows=flows, announced=False)
        try:
            source = send(m, spaces[0], packets, rate, flows=flows)
            wait_until(lambda: capture.metric(rows_family.CONSUMED) >= flows, "every flow's first packet", capture.child)
            capture.announce()
            if kill:
                took = kill_and_wait(capture)
            if source.poll() is not None:
                raise Unfit("the traffic had ended before the shard was back")
            real = sent(source)["packets_per_second"]
            _, told = capture.stop()
        except BaseException:
            capture.kill()
            raise
        if told.delivered != packets and not told.kernel_dropped:
            raise Unfit(f"{packets} packets sent, {told.delivered} delivered, and no drop in the kernel")
        measure.verify(m, capture.scratch / "data", capture.scratch / "summary.json")
        return took, packets - told.saved, measure.losses(told), real


KILLS = 100


def killed_often(m, spaces, rate):
    """(ms from each of KILLS kills of the only shard to the next packet consumed, packets lost, how). Between two kills
    the successor gets READY, for which it waits for the hub's next heartbeat (100 ms)."""
    with m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, "-shards=1", "-gzip=auto", flows=FLOWS, announced=False)
        try:
            packets = int(rate * KILLS * 0.15)
            source = send(m, spaces[0], packets, rate)
            wait_until(lambda: capture.metric(rows_family.CONSUMED) >= FLOWS, "every flow's first packet", capture.child)
            capture.announce()
            took = []
            while len(took) < m.count(KILLS) and source.poll() is None:
                took.append(kill_and_wait(capture))
                wait_until(lambda: (capture.scratch / "log").read_text().count(" restarted child=shard") >= len(took),
                           "READY", capture.child, every=0.01)
            sent(source)
            _, told = capture.stop()
        except BaseException:
            capture.kill()
            raise
        if told.delivered != packets and not told.kernel_dropped:
            raise Unfit(f"{packets} packets sent, {told.delivered} delivered, and no drop in the kernel")
        measure.verify(m, capture.scratch / "data", capture.scratch / "summary.json")
        return took, packets - told.saved, measure.losses(told)


def killed(m):
    with wire() as spaces:
        if m.lossless is None:
            m.lossless, _ = search_rate(m, spaces)
        if m.lossless == 0:
            raise NotMeasured("no rate without losses was found to take half of")
        for flows, goal in ((1000, 50), (m.count(100_000), 150)):
            runs = [killed_once(m, spaces, flows, m.lossless / 2) for _ in range(m.runs)]
            undisturbed = killed_once(m, spaces, flows, m.lossless / 2, kill=False)
            took, worst = statistics.median(r[0] for r in runs), max(runs, key=lambda r: r[1])
            yield Row("P12", f"shard killed at {runs[0][3]:,.0f} pps, live, {flows:,} flows: until it consumes again",
                      f"{took:.0f} ms, {worst[1]:,} packets lost", f"<= {goal} ms, 0",
                      verdict(took <= goal and worst[1] == 0),
                      f"half of P2; seen through /metrics; worst loss of {m.runs} runs: {worst[2]}; without a kill: "
                      f"{undisturbed[2]}", {"ms": took, "lost": worst[1], "lost_without_kill": undisturbed[1],
                                            "pps": runs[0][3]})
        took, lost, how = killed_often(m, spaces, m.lossless / 2)
        yield Row("P12", f"{len(took)} kills in one run at {m.lossless / 2:,.0f} pps, {FLOWS:,} flows: until it consumes again",
                  f"median {statistics.median(took):.0f} ms, worst {max(took):.0f} ms, {lost:,} packets lost",
                  "<= 50 ms, 0", verdict(statistics.median(took) <= 50 and lost == 0), f"one run; {how}",
                  {"ms": statistics.median(took), "worst": max(took), "lost": lost, "kills": len(took)})


BUDGET, RING = 256e6, 16 << 20


FLOOD_RATE = 200_000


def flood_once(m, spaces):
    seconds = m.count(6)
    with m.scratch() as scratch:
        capture = Capture(m, spaces[1], scratch, "-maxheap=256MB", "-flowtimeout=5s", "-shards=1", "-ringsize=16MB",
                          "-capturebuffer=64MB")
        try:
            packets = 20_000 * seconds
            at_start = most = capture.resident()
            arrived, began = received(spaces[1]), time.monotonic()
            good = send(m, spaces[0], packets, 20_000)
            bad = send(m, spaces[0], FLOOD_RATE * seconds, FLOOD_RATE, "syn")
            while good.poll() is None or bad.poll() is None:
                most = max(most, capture.resident())
                time.sleep(0.1)
            # By the interface's own counter, over the time in which both were sent.
            rate = (received(spaces[1]) - arrived) / (time.monotonic() - began) - 20_000
            sent(good)
            sent(bad)
            _, told = capture.stop()
        except BaseException:
            capture.kill()
            raise
        measure.verify(m, capture.scratch / "data", capture.scratch / "summary.json")
        # Only the 1,000 flows have names, so whatever is in a file is theirs.
        return measure.packets_in(capture.scratch / "data"), packets, most, at_start, told, rate


def flood(m):
    with wire() as spaces:
        runs = [flood_once(m, spaces) for _ in range(m.runs)]
    in_files, packets, _, _, told, rate = min(runs, key=lambda r: r[0])
    if min(r[5] for r in runs) < FLOOD_RATE * 0.9:
        yield Row("P6", f"SYN flood at {FLOOD_RATE:,}/s from distinct sources beside 1,000 flows with UUIDs", "NOT MEASURED",
                  "all saved", "FAILED", f"the interface received {min(r[5] for r in runs):,.0f} SYN/s; with them "
                  f"{in_files:,} of {packets:,} packets of the 1,000 flows were saved")
        return
    most, at_start = max((r[2], r[3]) for r in runs)
    allowed = BUDGET + RING + at_start  # the capture buffer is mapped and held from the start; the ring fills later
    yield Row("P6", f"SYN flood at {rate:,.0f}/s from distinct sources beside 1,000 flows with UUIDs",
              f"{in_files:,} of {packets:,} packets of the 1,000 flows saved, {most / 1e6:.0f} MB",
              f"all, <= {allowed / 1e6:.0f} MB", verdict(in_files == packets and most <= allowed),
              f"worst of {m.runs} runs; memory: budget 256 MB + ring 17 + {at_start / 1e6:.0f} at the start, capture "
              f"buffer included; drops of all traffic: {measure.losses(told)}",
              {"saved": in_files, "offered": packets, "memory": most, "allowed": allowed, "lost": told.lost})


IDLE_SECONDS = 20


def family_ticks(pid):
    """CPU time of a process and its children, in seconds."""
    pids = [pid, *map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    words = [pathlib.Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split() for p in pids]
    return sum(int(w[11]) + int(w[12]) for w in words) / os.sysconf("SC_CLK_TCK")


def idle(m):
    with wire() as spaces, m.scratch() as scratch:
        with open(pathlib.Path(scratch) / "log", "wb") as log:
            child = subprocess.Popen(["ip", "netns", "exec", spaces[1], m.shardcap(), "-interface=taker", "-datadir",
                                      pathlib.Path(scratch) / "data", "-rundir", pathlib.Path(scratch) / "run",
                                      "-prometheusx.listen-address=127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log)
        try:
            rows_family.port_of(pathlib.Path(scratch) / "log", child)
            time.sleep(3)  # the start is not the rest
            before = family_ticks(child.pid)
            time.sleep(IDLE_SECONDS)
            share = (family_ticks(child.pid) - before) / IDLE_SECONDS * 100
        finally:
            child.send_signal(signal.SIGTERM)
            measure.finish(child, time.monotonic())
    yield Row("idle", "CPU of the whole family with default flags and no traffic", f"{share:.2f} % of a core", "< 0.5 %",
              verdict(share < 0.5), f"over {IDLE_SECONDS} s; its memory is held to < 30 MiB by make test",
              {"percent": share})


# The longest first: see BENCH_LIMIT.
ROWS = [("live CPU", cpu, "P1"), ("live rate", highest_rate, "P2"), ("killed", killed, "P12"), ("flood", flood, "P6"),
        ("idle", idle, "idle")]
