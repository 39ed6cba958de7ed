# SPDX-License-Identifier: Apache-2.0
"""What a family really takes, as the kernel counts it: shared pages once. Not what the programs believe."""
import pathlib
import re
import threading
import time


def pss(pid):
    """Bytes of one process, its part of shared pages included; 0 if it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"(?m)^Pss:\s+(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else 0


def mapped(pid, name):
    """Bytes of one process in mappings whose path holds name; 0 if it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
    except OSError:
        return 0
    parts = re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", text)
    return sum(int(re.search(r"(?m)^Rss:\s+(\d+) kB", part).group(1)) * 1024
               for part in parts if name in part.split("\n", 1)[0])


def private(pid):
    """Anonymous memory of one process: what it allocated for itself."""
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"(?m)^Anonymous:\s+(\d+) kB", text)
    return int(found.group(1)) * 1024 if found else 0


def of_family(run):
    return sum(pss(pid) for pids in run.children().values() for pid in pids) + pss(run.supervisor())


class Peak:
    """The most that function() returned while the block ran."""

    def __init__(self, function):
        self.function, self.bytes, self.looks = function, 0, 0

    def _look(self):
        while not self._stop.is_set():
            self.bytes = max(self.bytes, self.function())
            self.looks += 1
            time.sleep(0.05)

    def __enter__(self):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
