# SPDX-License-Identifier: Apache-2.0
"""Rows that look at the memory of the family of processes while it reads from a pipe that stays open."""
import http.client
import os
import pathlib
import re
import subprocess
import time

import measure
from measure import NotMeasured, Row, Unfit, verdict


def resident(pid):
    """Bytes of memory that a process and all its descendants hold; a shared page counts once (Pss)."""
    todo, total = [pid], 0
    while todo:
        p = todo.pop()
        try:
            text = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text()
            todo += map(int, pathlib.Path(f"/proc/{p}/task/{p}/children").read_text().split())
        except PermissionError:
            raise NotMeasured("the memory of processes of another user cannot be read") from None
        except OSError:  # gone meanwhile
            continue
        found = re.search(r"^Pss:\s+(\d+) kB$", text, re.M)
        total += int(found.group(1)) * 1024 if found else 0
    return total


def metric(port, name):
    """Sum of a metric over its labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)
    if not found:
        raise Unfit(f"no {name} in /metrics")
    return sum(map(float, found))


CONSUMED = "shardcap_packets_consumed_total"
PORT = re.compile(r"http://127\.0\.0\.1:(\d+)")


def wait_until(condition, what, child, seconds=60, every=0.02):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Unfit(f"waited {seconds} s for {what}")
        if child.poll() is not None:
            raise Unfit(f"shardcap exited with {child.returncode} before {what}")
        time.sleep(every)


def port_of(log, child):
    wait_until(lambda: PORT.search(log.read_text(errors="replace")), "the port in the log", child)
    return int(PORT.search(log.read_text(errors="replace")).group(1))


def resident_with(m, flows, packets, first, *extra):
    """Memory of the family while it holds `flows` flows. The ring is small, so that all of it has been used whatever
    the number of flows. Taken when at least 99 % of the packets are consumed: the last burst waits for more input."""
    with m.scratch() as scratch:
        scratch = pathlib.Path(scratch)
        reader, writer = os.pipe()
        with open(scratch / "log", "wb") as log:
            child = subprocess.Popen([m.shardcap(), "-read", "-", "-datadir", scratch / "data", "-rundir",
                                      scratch / "run", "-shards=1", "-syncinterval=0", "-captureduration=1h",
                                      "-uuidwaitduration=1h", "-flowtimeout=1h", "-ringsize=1MB", "-summary",
                                      scratch / "summary.json", "-prometheusx.listen-address=127.0.0.1:0", *extra],
                                     stdin=reader, stdout=log, stderr=log)
        os.close(reader)
        try:
            port = port_of(scratch / "log", child)
            subprocess.run([m.program("make_savefile"), "-", str(flows), str(packets), str(first)],
                           stdout=writer, check=True, timeout=measure.RUN_LIMIT)
            wait_until(lambda: metric(port, CONSUMED) >= 0.99 * flows * packets, "the packets to be consumed", child)
            held = resident(child.pid)
        finally:
            os.close(writer)
            if child.poll() is None:
                used = measure.finish(child, time.monotonic())
        told = measure.summary(scratch / "summary.json")
        if used.status != 0 or told.delivered != flows * packets or told.lost > told.drops.get("no_uuid", 0):
            raise Unfit(f"{flows} flows: {told.delivered} delivered, drops {measure.losses(told)}, exit {used.status}")
        measure.verify(m, scratch / "data", scratch / "summary.json")
        return held


def slope(m, packets, first, small, large, *extra):
    """Bytes that one more flow takes, over the whole family; shared pages count once."""
    def each():
        return ((resident_with(m, large, packets, first, *extra) - resident_with(m, small, packets, first, *extra)) /
                (large - small))

    return m.median(each)


def memory(m):
    small, large = 20_000, 60_000
    held = slope(m, 1, 0, small, large, "-uuid.source=none")
    yield Row("P4", "memory per half-open flow", f"{held:.0f} bytes", "<= 512 bytes", verdict(held <= 512),
              f"slope between {small:,} and {large:,} flows", {"bytes": held})
    small, large = 3000, 4000
    scarce = slope(m, 200, 3, small, large, "-maxheap=48MB")
    plenty = slope(m, 200, 3, small, large)
    yield Row("P5", "memory per open flow with a UUID, 200 packets, where memory is scarce (-maxheap=48MB)",
              f"{scarce:.0f} bytes", "<= 8192 bytes", verdict(scarce <= 8192),
              f"slope between {small:,} and {large:,} flows; with the default -maxheap flows wait for larger chunks: "
              f"{plenty:.0f} bytes", {"bytes": scarce, "plenty": plenty})


ROWS = [("memory", memory, "P4, P5")]
