# SPDX-License-Identifier: Apache-2.0
"""-cpus: each dispatcher, then each shard, runs on its core of the list, a successor on that of its predecessor; what
else runs in a shard has the whole list, and nobody else is told where to run."""
import os
import pathlib
import signal
import unittest

import family
import need
import netns

IN_USER_NAMESPACE = True


def threads(pid):
    """The cores that each thread of a process may run on, its main thread's first."""
    tasks = sorted(int(task) for task in os.listdir(f"/proc/{pid}/task"))
    return [sorted(os.sched_getaffinity(task)) for task in tasks]


class Cpus(unittest.TestCase):
    def setUp(self):
        self.ours = sorted(os.sched_getaffinity(0))
        self.cores = self.ours[:2]
        self.list = ",".join(map(str, self.cores))

    def core(self, place):
        return [self.cores[place % len(self.cores)]]

    def check(self, run, dispatchers, shards):
        children = run.children()
        dispatcher = threads(children["shardcap-dispatcher"][0])
        self.assertEqual(dispatcher, [self.core(k) for k in range(dispatchers)])
        of_shards = [threads(pid) for pid in children["shardcap-shard"]]
        self.assertEqual(sorted(t[0] for t in of_shards), sorted(self.core(dispatchers + i) for i in range(shards)))
        for shard in of_shards:
            self.assertGreater(len(shard), 1, "the file thread is one of them")
            for other in shard[1:]:
                self.assertEqual(other, self.cores)
        for pid in (run.supervisor(), children["shardcap-hub"][0]):
            self.assertEqual(threads(pid)[0], self.ours)

    def test_each_has_its_core_and_its_successor_too(self):
        need.need("netns")
        a, _ = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-shards=2", "-dispatchers=2", f"-cpus={self.list}",
                            namespace=a.name).ready()
        self.check(run, dispatchers=2, shards=2)
        for program in ("shardcap-shard", "shardcap-dispatcher"):
            old = run.children()[program]
            os.kill(old[0], signal.SIGKILL)
            run.until(lambda: old[0] not in run.children().get(program, []) and
                      len(run.children().get(program, [])) == len(old), f"{program} is started again")
            run.ready()
            run.settled()
        self.check(run, dispatchers=2, shards=2)
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_core_that_nobody_has_is_refused(self):
        work = family.workdir(self)
        beyond = max(self.ours) + 500
        code, _, err = family.run(f"-cpus={self.list},{beyond}", "-check", f"-datadir={work}/data", f"-rundir={work}/run")
        self.assertNotEqual(code, 0)
        self.assertIn(f"core {beyond}", err)
        self.assertFalse(pathlib.Path(work, "data").exists())

    def test_check_tells_the_list(self):
        work = family.workdir(self)
        code, out, err = family.run(f"-cpus={self.list}", "-check", f"-datadir={work}/data", f"-rundir={work}/run")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, rf"(?m)^-cpus = {self.list}$")


if __name__ == "__main__":
    unittest.main()
