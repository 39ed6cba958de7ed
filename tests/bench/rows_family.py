# SPDX-License-Identifier: Apache-2.0
"""Rows that look at the family of processes while it reads from a pipe: its memory, and how it takes a kill."""
import http.client
import os
import pathlib
import re
import signal
import statistics
import subprocess
import time

import measure
from measure import Row, verdict


def resident(pid):
    """Bytes resident in all descendants of a process (private and shared: ring and arena count)."""
    children, total = [pid], 0
    while children:
        p = children.pop()
        try:
            text = pathlib.Path(f"/proc/{p}/statm").read_text().split()
            total += int(text[1]) * os.sysconf("SC_PAGESIZE")
            children += map(int, pathlib.Path(f"/proc/{p}/task/{p}/children").read_text().split())
        except (OSError, ValueError):
            pass
    return total


def resident_with(m, flows, packets, first):
    """Resident bytes of the family while it holds `flows` flows, fed through a pipe that stays open. The ring is small,
    so that all of it has been used either way."""
    with m.scratch() as scratch:
        scratch = pathlib.Path(scratch)
        reader, writer = os.pipe()
        with open(scratch / "log", "wb") as log:
            child = subprocess.Popen([m.shardcap(), "-read", "-", "-datadir", scratch / "data", "-rundir",
                                      scratch / "run", "-shards=1", "-syncinterval=0", "-captureduration=1h",
                                      "-uuidwaitduration=1h", "-flowtimeout=1h", "-ringsize=1MB", "-summary",
                                      scratch / "summary.json"],
                                     stdin=reader, stdout=log, stderr=log)
        os.close(reader)
        try:
            subprocess.run([m.program("make_savefile"), "/dev/stdout", str(flows), str(packets), str(first)],
                           stdout=writer, check=True, timeout=measure.RUN_LIMIT)
            last, same, until = -1, 0, time.monotonic() + 60
            while same < 5 and time.monotonic() < until:  # until it does not change for half a second
                time.sleep(0.1)
                now = resident(child.pid)
                same = same + 1 if now == last else 0
                last = now
        finally:
            os.close(writer)
            used = measure.finish(child, time.monotonic())
        told = measure.summary(scratch / "summary.json")
        if used.status != 0 or told.delivered != flows * packets or told.lost > told.drops.get("no_uuid", 0):
            raise measure.Unfit(f"{flows} flows: {told.delivered} delivered, {told.lost} lost, exit {used.status}")
        return last


def memory(m):
    for row, what, packets, first, small, large, goal in (
            ("P4", "resident memory per half-open flow", 1, 0, 20_000, 100_000, 512),
            ("P5", "resident memory per open flow, 200 packets", 200, 3, 500, 2500, 8192)):
        small, large = m.count(small), m.count(large)
        a, b = resident_with(m, small, packets, first), resident_with(m, large, packets, first)
        each = (b - a) / (large - small)
        yield Row(row, what, f"{each:.0f} bytes", f"<= {goal} bytes", verdict(each <= goal),
                  f"slope between {small:,} and {large:,} flows, whole family", {"bytes": each})


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    if not found:
        raise measure.Unfit(f"no {name} in /metrics")
    return float(found.group(1))


def shard_pid(supervisor):
    for pid in map(int, pathlib.Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()):
        if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"shardcap-shard"):
            return pid
    raise measure.Unfit("no shard process")


def wait_until(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise measure.Unfit(f"waited {seconds} s for {what}")
        time.sleep(0.001)


def killed_once(m, flows, packets, pps):
    """Milliseconds from the kill of the only shard to the next packet consumed; packets lost."""
    consumed = "shardcap_packets_consumed_total"
    with m.scratch() as scratch:
        scratch = pathlib.Path(scratch)
        reader, writer = os.pipe()
        with open(scratch / "log", "wb") as log:
            child = subprocess.Popen([m.shardcap(), "-read", "-", "-datadir", scratch / "data", "-rundir",
                                      scratch / "run", "-shards=1", "-syncinterval=0", "-captureduration=1h",
                                      "-uuidwaitduration=1h", "-flowtimeout=1h", "-uuid.source=none", "-summary",
                                      scratch / "summary.json", "-prometheusx.listen-address=127.0.0.1:0"],
                                     stdin=reader, stdout=log, stderr=log)
        os.close(reader)
        source = subprocess.Popen([m.program("make_savefile"), "/dev/stdout", str(flows), str(packets), "3", str(pps)],
                                  stdout=writer)
        os.close(writer)
        try:
            port = re.compile(r"http://127\.0\.0\.1:(\d+)")
            wait_until(lambda: port.search((scratch / "log").read_text()), "the port in the log")
            port = int(port.search((scratch / "log").read_text()).group(1))
            wait_until(lambda: metric(port, consumed) > flows * packets / 2, "half of the packets")
            pid = shard_pid(child.pid)
            start = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the end of the killed shard")
            before = metric(port, consumed)
            wait_until(lambda: metric(port, consumed) > before, "the next packet")
            took = (time.monotonic() - start) * 1000
        finally:
            source.wait(measure.RUN_LIMIT)
            used = measure.finish(child, time.monotonic())
        told = measure.summary(scratch / "summary.json")
        if used.status != 0 or told.delivered != flows * packets:
            raise measure.Unfit(f"exit {used.status}, {told.delivered} of {flows * packets} delivered")
        return took, told.lost - told.drops.get("no_uuid", 0)


def killed(m):
    for flows, packets, pps, goal in ((1000, 1000, 200_000, 50), (100_000, 10, 200_000, 150)):
        flows = flows if flows == 1000 else m.count(flows)
        runs = [killed_once(m, flows, m.count(packets) if flows == 1000 else packets, pps) for _ in range(m.runs)]
        took, lost = statistics.median(r[0] for r in runs), max(r[1] for r in runs)
        yield Row("P12", f"shard killed at {pps:,} packets/s with {flows:,} flows: time until it consumes again",
                  f"{took:.0f} ms, {lost} packets lost", f"<= {goal} ms, 0", verdict(took <= goal and lost == 0),
                  values={"ms": took, "lost": lost})


ROWS = [("memory", memory, "P4, P5"), ("killed", killed, "P12")]
