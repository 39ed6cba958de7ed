# SPDX-License-Identifier: Apache-2.0
"""A family with default flags that has nothing to do: what it holds in memory. What it costs in CPU time is a row of
make bench."""
import pathlib
import re
import unittest

import family
import need
import netns

IN_USER_NAMESPACE = True
RESIDENT = 30 << 20  # capture buffers aside


def mappings(pid):
    """(name, Pss in bytes) of each mapping of a process."""
    name = ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)$", line)
        if head:
            name = head.group(1)
        elif line.startswith("Pss:"):
            yield name, int(line.split()[1]) * 1024


class Idle(unittest.TestCase):
    def setUp(self):
        need.need("netns")
        a, _ = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", namespace=a.name).ready()

    def pids(self):
        return [self.run_.supervisor(), *(pid for pids in self.run_.children().values() for pid in pids)]

    def test_resident_memory_is_bounded(self):
        buffers = held = 0
        for pid in self.pids():
            for name, pss in mappings(pid):
                if name.startswith("socket:"):
                    buffers += pss
                else:
                    held += pss
        self.assertGreater(buffers, 16 << 20, "the capture buffer is told apart")
        self.assertLess(held, RESIDENT)
        self.assertEqual(self.run_.stop(), 0)


if __name__ == "__main__":
    unittest.main()
