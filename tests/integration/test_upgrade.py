# SPDX-License-Identifier: Apache-2.0
"""`restart all` with other programs on disk, in the middle of a bulk transfer."""
import os
import pathlib
import shutil
import socket
import threading
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True


def setUpModule():
    need.need("netns", "nanocat", "tcpdump")


def other(kind):
    """shardcap-shard of a build whose layout of `kind` differs."""
    path = family.BIN.parent / f"other-{kind}/bin/shardcap-shard"
    if not path.exists():
        raise unittest.SkipTest(f"{path} is not built: make test-programs")
    return path


class Upgrade(unittest.TestCase):
    def start(self, *args):
        self.a, self.b = netns.pair(self)
        work = family.workdir(self)
        self.bin = family.copied_programs(work)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", *(args or ("-uuid.source=hash",)),
                                  namespace=self.a.name, work=work, programs=self.bin).ready()
        self.server = traffic.Server(self, self.a)
        self.dump = traffic.Tcpdump(self, self.a, "veth0", work / "dump.pcap")
        return self.run_

    def install(self, path, name=None):
        """As a package does it: a new file takes the place of the old one."""
        name = name or path.name
        shutil.copy(path, self.bin / (name + ".new"))
        os.replace(self.bin / (name + ".new"), self.bin / name)

    def processes(self):
        return {(p["process"], p.get("shard")): p for p in self.run_.status()["processes"]}

    def images(self):
        """{pid: inode of what it runs}"""
        pids = [self.run_.process.pid] + [p["pid"] for p in self.processes().values()]
        return {pid: os.stat(f"/proc/{pid}/exe").st_ino for pid in pids}

    def transfers(self, what):
        """Calls `what` while transfers go on; returns their number."""
        stop, flows = threading.Event(), []

        def pull():
            while not stop.is_set():
                flows.append(traffic.fetch(self.b, "10.77.0.1", self.server.port, 2_000_000))
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            what()
        finally:
            stop.set()
            thread.join()
        return len(flows)

    def finish(self, files=None):
        """Everything that tcpdump saw is in the files, once."""
        run = self.run_
        dumped = self.dump.stop()
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["drops"], {}, run.log)
        self.assertEqual(run.leftovers(), [])
        if files is not None:
            self.assertEqual(len(run.files()), files)
        traffic.check_same_headers(self, run, dumped)
        return summary

    def open_fds(self):
        return len(os.listdir(f"/proc/{self.run_.process.pid}/fd"))

    def unreaped(self):
        pid = self.run_.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [c for c in children if pathlib.Path(f"/proc/{c}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"]

    def restart_all(self, answer):
        self.assertRegex(self.run_.ctl("restart all"), answer)
        self.run_.settled()

    def test_the_same_files_restart_shards_and_hub(self):
        run = self.start()
        before = self.processes()
        flows = self.transfers(lambda: self.restart_all("^ok restarting 3 processes$"))
        after = self.processes()
        self.assertEqual(before[("dispatcher", None)]["pid"], after[("dispatcher", None)]["pid"])
        for key in (("hub", None), ("shard", 0), ("shard", 1)):
            self.assertEqual(after[key]["generation"], 2)
        self.assertNotRegex(run.log, "restarting the supervisor")
        fds = self.open_fds()
        for _ in range(3):
            self.restart_all("^ok restarting 3 processes$")
        self.assertLessEqual(self.open_fds(), fds)
        self.finish(flows)

    def test_the_server_of_events_survives(self):
        """The next supervisor holds the socket of -events.serve, and gives it to the next hub."""
        serve = family.workdir(self) / "serve.sock"
        run = self.start("-uuid.source=hash", f"-events.serve={serve}")
        self.install(family.BIN / "shardcap")
        self.restart_all("^ok restarting 4 processes$")
        run.until(lambda: run.said("the supervisor goes on"), "it says so")
        os.kill(self.processes()[("hub", None)]["pid"], 9)
        run.until(lambda: self.processes()[("hub", None)]["generation"] == 3, "a successor is there")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(serve))
            run.until(lambda: run.metric("shardcap_serve_clients") == 1, "it has a client")
        self.finish(0)

    def test_new_files_of_the_same_layout(self):
        """Every process but the dispatcher, whose file is the old one, runs the new files; the supervisor in its pid."""
        run = self.start()
        for name in ("shardcap", "shardcap-hub", "shardcap-shard"):
            self.install(family.BIN / name)
        dispatcher = self.processes()[("dispatcher", None)]["pid"]
        before = {c for c in run.metrics() if c.startswith("shardcap_")}
        flows = self.transfers(lambda: self.restart_all("^ok restarting 4 processes$"))
        run.until(lambda: run.said("the supervisor goes on"), "it says so")
        for pid, inode in self.images().items():
            name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            self.assertEqual(inode, os.stat(self.bin / os.path.basename(name)).st_ino, name)
        self.assertEqual(self.processes()[("dispatcher", None)]["pid"], dispatcher)
        self.assertLessEqual(before, set(run.metrics()))
        # It is still the one that reaps, restarts and obeys.
        victim = self.processes()[("shard", 1)]["pid"]
        os.kill(victim, 9)
        run.until(lambda: run.status()["processes"][3]["generation"] == 3, "a successor is there")
        run.settled()
        self.restart_all("^ok restarting 3 processes$")
        self.finish(flows)

    def test_twice_and_the_dispatcher_last(self):
        """Its absence may cost packets, so what must hold here is the law of the counters and whole files."""
        run = self.start()
        for round_ in (1, 2):
            for name in family.PROGRAMS:
                self.install(family.BIN / name)
            self.transfers(lambda: self.restart_all("^ok restarting 5 processes$"))
            run.ready()
            self.assertEqual({k: p["generation"] for k, p in self.processes().items()},
                             {("dispatcher", None): round_ + 1, ("hub", None): round_ + 1, ("shard", 0): round_ + 1,
                              ("shard", 1): round_ + 1})
        order = [line for line in run.log.splitlines() if "restarting" in line and "restart all" not in line]
        self.assertIn("dispatcher", order[-1])
        self.assertIn("supervisor", order[-2])
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(run.leftovers(), [])

    def test_another_arena_goes_on_in_second_files(self):
        """The old program publishes, the new one begins with an empty arena; no packet is lost, and none is misread."""
        run = self.start("-uuid.source=kernel")
        with traffic.halved(self.b, "10.77.0.1", self.server.port, 400_000):
            run.until(lambda: sum(p.get("flows", 0) for p in run.status()["processes"]) == 1 and
                      not sum(p.get("unnamed", 0) for p in run.status()["processes"]), "the flow is there and named")
            self.install(other("arena"))
            self.restart_all("^ok restarting 3 processes$")
        names = sorted(pathlib.Path(n).name for n in run.files())
        self.assertEqual(len(names), 1)
        self.finish()
        self.assertEqual(sorted(pathlib.Path(n).name for n in run.files()),
                         sorted(names + [names[0].replace(".pcap.gz", ".1.pcap.gz")]))
        self.assertNotIn("arena_lost", run.log)

    def test_another_arena_still_knows_the_local_addresses(self):
        """The dispatcher has told them once, to the shard before."""
        run = self.start("-uuid.source=hash", "-anonymize.ip=netblock")
        traffic.fetch(self.b, "10.77.0.1", self.server.port, 3000)
        self.install(other("arena"))
        self.restart_all("^ok restarting 3 processes$")
        traffic.fetch(self.b, "10.77.0.1", self.server.port, 3000)
        self.dump.stop()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 2)
        for f in run.files().values():
            ends = {end[0] for key in traffic.headers(f.records) for end in key}
            self.assertEqual(ends, {bytes([10, 77, 0, 1]), bytes([10, 77, 0, 0])})

    def test_another_arena_under_load(self):
        """The rings must hold what comes while the old shards publish, which takes as long as the disk takes."""
        run = self.start("-uuid.source=hash", "-ringsize=256MB", "-syncinterval=0")
        flows = self.transfers(lambda: (self.install(other("arena")), self.restart_all("^ok restarting 3 processes$"),
                                        self.install(family.BIN / "shardcap-shard"),
                                        self.restart_all("^ok restarting 3 processes$")))
        self.assertEqual({p["generation"] for k, p in self.processes().items() if k[0] == "shard"}, {3})
        self.finish()
        self.assertGreaterEqual(len(run.files()), flows)

    def test_another_ring_is_refused(self):
        run = self.start()
        self.install(other("ring"))
        before = self.processes()
        for _ in range(2):
            self.assertRegex(run.ctl("restart all"),
                             '^error layout: shardcap-shard on disk has another layout of "ring".*restart the service$')
        self.assertEqual({k: p["pid"] for k, p in self.processes().items()}, {k: p["pid"] for k, p in before.items()})
        # A crash does not mix the versions.
        os.kill(before[("shard", 0)]["pid"], 9)
        run.until(lambda: run.status()["processes"][2]["generation"] == 2, "a successor of the old build is there")
        run.settled()
        self.install(family.BIN / "shardcap-shard")
        flows = self.transfers(lambda: self.restart_all("^ok restarting 3 processes$"))
        self.finish(flows)

    def test_what_is_no_program_of_ours_is_refused(self):
        run = self.start()
        (self.bin / "shardcap-hub").unlink()
        self.assertRegex(run.ctl("restart all"), "^error missing: cannot open shardcap-hub")
        for text, mode in (("#!/bin/sh\necho hello\n", 0o755), ("", 0o755), ("\x7fELF", 0o644)):
            path = self.bin / "shardcap-hub.x"
            path.write_text(text)
            path.chmod(mode)
            os.replace(path, self.bin / "shardcap-hub")
            self.assertRegex(run.ctl("restart all"), "^error layout: shardcap-hub")
        shutil.copy("/bin/sleep", self.bin / "shardcap-hub")  # `sleep -layout` says nothing of use
        self.assertRegex(run.ctl("restart all"), "^error layout: shardcap-hub")
        self.assertEqual({p["generation"] for p in self.processes().values()}, {1})
        run.until(lambda: not self.unreaped(), "whoever was asked is reaped")
        self.install(family.BIN / "shardcap-hub")
        self.restart_all("^ok restarting 3 processes$")
        self.finish(0)

    def test_sigterm_while_it_is_under_way(self):
        run = self.start()
        for name in family.PROGRAMS:
            self.install(family.BIN / name)
        self.transfers(lambda: (self.assertRegex(run.ctl("restart all"), "^ok "),
                                run.until(lambda: run.said("restarting child=shard"), "it has begun"),
                                os.kill(run.process.pid, 15)))
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(run.leftovers(), [])


if __name__ == "__main__":
    unittest.main()
