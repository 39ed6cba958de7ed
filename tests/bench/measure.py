# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: medians, runs of shardcap over a savefile, and the check that a run counts at all.

A run counts only if the packets in its files, read by the strict reader of the tests, are the packets offered minus the
counted drops; anything else raises Unfit. Python's standard library only.
"""
import collections
import contextlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lib"))
import strictpcap

RUN_LIMIT = 300  # seconds for any one process

Row = collections.namedtuple("Row", "id what measured goal verdict note values", defaults=("", "", "", "", None))
Used = collections.namedtuple("Used", "wall cpu status")


class NotMeasured(Exception):
    """This machine, or this build, does not allow the measurement: the reason is shown in the table."""


class Unfit(Exception):
    """The run lost track of packets or failed: its figures must not be shown."""


class Machine:
    """Where the programs are, where files may go, how often each figure is taken."""

    def __init__(self, build, runs, scale, directory):
        self.bin = pathlib.Path(build) / "bin"
        self.programs = pathlib.Path(build) / "tests" / "bench"
        self.runs, self.scale = runs, scale
        self.directory = pathlib.Path(directory)
        self.plain_bin = pathlib.Path(build) / "plain" / "bin"  # with zlib alone
        self.lossless = None  # packets a second, once P2 has been taken
        self._savefiles = {}

    def count(self, n):
        """A size of the work, made smaller for a quick run."""
        return max(1, int(n * self.scale))

    def program(self, name):
        path = self.programs / name
        if not path.exists():
            raise NotMeasured(f"{name} is not built")
        return path

    def shardcap(self):
        path = self.bin / "shardcap"
        if not path.exists():
            raise NotMeasured("shardcap is not built")
        return path

    def codecs(self):
        """What the programs compress with, as they say."""
        out = subprocess.run([self.shardcap(), "-version"], stdout=subprocess.PIPE, check=True, timeout=20)
        return out.stdout.decode().strip().partition("gzip by ")[2]

    @contextlib.contextmanager
    def plain(self):
        """The programs that were built with zlib alone."""
        if not (self.plain_bin / "shardcap").exists():
            raise NotMeasured("no build with zlib alone")
        usual, self.bin = self.bin, self.plain_bin
        try:
            yield
        finally:
            self.bin = usual

    def json(self, name, *arguments):
        out = subprocess.run([self.program(name), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             timeout=RUN_LIMIT)
        if out.returncode != 0:
            raise Unfit(f"{name} exited with {out.returncode}: {out.stderr.decode(errors='replace').strip()}")
        return json.loads(out.stdout)

    def median(self, measure):
        """Calls measure() `runs` times; the median of what it returns."""
        return statistics.median(measure() for _ in range(self.runs))

    def savefile(self, flows, packets, first=0):
        key = (flows, packets, first)
        if key not in self._savefiles:
            path = self.directory / f"in-{flows}-{packets}-{first}.pcap"
            subprocess.run([self.program("make_savefile"), path, str(flows), str(packets), str(first)], check=True,
                           timeout=RUN_LIMIT)
            self._savefiles[key] = path
        return self._savefiles[key]

    @contextlib.contextmanager
    def scratch(self):
        """A directory for one run that other users can pass through, as the shards' user must. Its files are emptied
        afterwards and stay until all is over: ext4 without a journal does not use the inode of a deleted file anew for
        a minute, but looks at it for every file that is made meanwhile (two thirds of all CPU time in a row of
        1,000 files)."""
        path = tempfile.mkdtemp(dir=self.directory)
        os.chmod(path, 0o755)
        try:
            yield path
        finally:
            for file in pathlib.Path(path).rglob("*"):
                with contextlib.suppress(OSError):
                    if file.is_file():
                        os.truncate(file, 0)


def run(command, **how):
    """Runs to the end; CPU time is that of the process and of all descendants that were waited for."""
    start = time.monotonic()
    child = subprocess.Popen([str(word) for word in command], stdin=how.pop("stdin", subprocess.DEVNULL), **how)
    return finish(child, start)


def finish(child, start):
    guard = threading.Timer(RUN_LIMIT, child.send_signal, [signal.SIGKILL])
    guard.start()
    try:
        _, status, usage = os.wait4(child.pid, 0)
    finally:
        guard.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    return Used(time.monotonic() - start, usage.ru_utime + usage.ru_stime, child.returncode)


Summary = collections.namedtuple("Summary", "delivered saved lost drops kernel_dropped")


def summary(path):
    """The summary of a finished run, if it balances."""
    try:
        tree = json.loads(pathlib.Path(path).read_text())
        packets, drops = tree["packets"], tree["drops"]
        out = Summary(packets["delivered"], packets["saved"], packets["lost"], drops, tree["kernel"]["dropped"])
    except (OSError, ValueError, KeyError) as e:
        raise Unfit(f"no summary: {e!r}") from e
    if out.saved + sum(drops.values()) != out.delivered:
        raise Unfit(f"delivered {out.delivered} is not saved {out.saved} + drops {drops}")
    return out


def losses(told):
    """Where packets went, in words."""
    parts = [f"{n:,} {cause}" for cause, n in sorted(told.drops.items())]
    if told.kernel_dropped:
        parts.append(f"{told.kernel_dropped:,} kernel")
    return ", ".join(parts) or "none"


def packets_in(datadir):
    return sum(len(f.records) for f in strictpcap.tree(datadir).values())


def verify(machine, datadir, summary_path):
    """The packets in the files of a run against its counters, by the tool for it: the strict reader of the tests takes
    minutes for millions."""
    out = subprocess.run([machine.bin / "shardcapctl", "verify", "-summary", summary_path, datadir],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_LIMIT)
    if out.returncode != 0:
        raise Unfit(f"shardcapctl verify: {out.stdout.decode(errors='replace').strip()[-300:]}")


def bytes_in(datadir):
    return sum(p.stat().st_size for p in pathlib.Path(datadir).rglob("*") if p.is_file())


Offline = collections.namedtuple("Offline", "wall cpu bytes saved")


def offline(machine, savefile, offered, shards=1, gzip="auto", extra=(), count_files=False):
    """One run of shardcap over a savefile. count_files: also count the packets in the files (once is enough)."""
    program = machine.shardcap()
    with machine.scratch() as scratch:
        scratch = pathlib.Path(scratch)
        data = scratch / "data"
        with open(scratch / "log", "wb") as log:
            used = run([program, "-read", savefile, "-datadir", data, "-rundir", scratch / "run", f"-shards={shards}",
                        f"-gzip={gzip}", "-syncinterval=0", "-summary", scratch / "summary.json", *extra],
                       stdout=log, stderr=log)
        if used.status != 0:
            last = (scratch / "log").read_text(errors="replace").strip().splitlines()[-1:]
            raise Unfit(f"shardcap exited with {used.status}: {' '.join(last)}")
        told = summary(scratch / "summary.json")
        if told.delivered != offered:
            raise Unfit(f"{offered} packets offered, {told.delivered} delivered")
        if count_files:
            verify(machine, data, scratch / "summary.json")
        return Offline(used.wall, used.cpu, bytes_in(data), told.saved)


def offline_median(machine, savefile, offered, **how):
    """Median wall and CPU of `runs` runs; the files of the first are counted."""
    runs = [offline(machine, savefile, offered, count_files=i == 0, **how) for i in range(machine.runs)]
    return Offline(statistics.median(r.wall for r in runs), statistics.median(r.cpu for r in runs),
                   int(statistics.median(r.bytes for r in runs)), runs[0].saved)


def need_program(name):
    if not shutil.which(name):
        raise NotMeasured(f"{name} is not installed")
    return name


def verdict(good):
    return "met" if good else "MISSED"
