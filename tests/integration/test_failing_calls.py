# SPDX-License-Identifier: Apache-2.0
"""Call N fails, for all N, in each of the real programs, once and for ever: a run ends, in time and by itself; it says why
if it could not go on; nothing published is torn, and the counters fit the files."""
import concurrent.futures
import errno
import json
import unittest

import family
import pcapgen as g
import shim

PROGRAMS = ("shardcap", "shardcap-dispatcher", "shardcap-hub", "shardcap-shard")
ERRORS = {"openat": (errno.EMFILE, errno.ENOSPC), "mkdirat": (errno.ENOSPC, errno.EROFS),
          "write": (errno.ENOSPC, errno.EDQUOT, errno.EINTR, 0), "ftruncate": (errno.EIO,), "syncfs": (errno.EIO,),
          "renameat2": (errno.EROFS, errno.ENOSPC), "close": (errno.EIO,), "memfd_create": (errno.EMFILE,),
          "mmap": (errno.ENOMEM,), "eventfd": (errno.EMFILE,), "socket": (errno.EMFILE,), "socketpair": (errno.EMFILE,),
          "fsync": (errno.EIO,), "fallocate": (errno.ENOSPC,)}

WAVE = 40  # of one kind
AT_ONCE = 48  # of all kinds: nearly all the time they wait, for their next try or for a backoff


class FailingCalls(unittest.TestCase):
    timeout = 900

    def setUp(self):
        self.work = family.workdir(self)
        shim.Shim(self, self.work)  # or the reason why not
        self.flows = [g.Flow(i) for i in range(6)]
        packets = g.interleave(*[f.conversation(g.START + f.ident * 1000, exchanges=20) for f in self.flows])
        self.total = len(packets)
        self.path = g.write(self.work / "in.pcap", g.pcap(packets))
        (self.work / "events").write_text("".join(f.event() for f in self.flows))
        self.failed_runs = 0

    def run_once(self, number, program, call, error, ever):
        """True if there was such a call."""
        work = self.work / f"{call}{error}.{number}"
        work.mkdir()
        work.chmod(0o755)
        mine = shim.Shim(self, work)
        mine.fail(program, call, number, error, ever)
        run = family.Family(self, "-read", self.path, f"-uuid.events={self.work}/events", "-shards=1", "-stream=true",
                            "-gzip=zlib", work=work, env=mine.env)
        status = run.wait(60)
        what = f"{program} {call} call {number} errno {error} ever {ever}\n{run.log}"
        # 70 is a bug of ours, above 128 or below 0 a crash
        self.assertIn(status, (0, 1, 75, 78), what)
        files = run.files() if run.datadir.exists() else {}  # strict: raises on a torn file
        if status != 0:
            self.failed_runs += 1
            self.assertIn("ERROR", run.log, what)
        if run.summary_file.exists():
            summary = json.loads(run.summary_file.read_text())
            self.assertEqual(summary["packets"]["delivered"],
                             summary["packets"]["saved"] + sum(summary["drops"].values()), what)
            self.assertEqual(sum(len(f.records) for f in files.values()), summary["packets"]["saved"], what)
            if status == 0 and not ever:
                self.assertEqual(summary["packets"]["saved"], self.total, what)
                run.verify("-summary", run.summary_file)
        else:
            self.assertNotEqual(status, 0, what)
        return mine.calls >= number

    def all_numbers(self, pool, program, call, error, ever):
        """Tries N = 1, 2, 3 .. until there is no such call, a few at a time; how many there were."""
        number, several = 0, 16 if program == "shardcap-shard" else 1  # the others make few of these calls, or none
        while True:
            wave = [pool.submit(self.run_once, number + i, program, call, error, ever) for i in range(1, several + 1)]
            there = [f.result() for f in wave]
            if not all(there):
                return number + there.index(False)
            number += several
            several = min(several * 8, WAVE)
            self.assertLess(number, 1000, call)

    def every(self, program, ever):
        kinds = [(call, error) for call, errors in ERRORS.items() for error in (errors[:1] if ever else errors)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool, \
                concurrent.futures.ThreadPoolExecutor(len(kinds)) as each:
            numbers = list(each.map(lambda kind: self.all_numbers(pool, program, *kind, ever), kinds))
        seen = {call: n for (call, _), n in zip(kinds, numbers)}
        print(f"\nNOTE {program} {'for ever' if ever else 'once'}: N tried {sum(numbers)} ({seen}); "
              f"{self.failed_runs} runs could not go on and said so")
        self.assertGreater(sum(numbers), 0)
        return seen


for _program in PROGRAMS:
    for _ever in (False, True):
        def _test(self, program=_program, ever=_ever):
            seen = self.every(program, ever)
            if program == "shardcap-shard":
                for call in ("openat", "mkdirat", "write", "renameat2", "close", "eventfd", "mmap", "socket", "syncfs"):
                    self.assertGreater(seen[call], 0, f"{call} is made")
            if program == "shardcap":
                self.assertGreater(seen["memfd_create"], 0)
        setattr(FailingCalls, f"test_{_program.replace('-', '_')}_{'for_ever' if _ever else 'once'}", _test)


if __name__ == "__main__":
    unittest.main()
