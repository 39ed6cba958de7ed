# SPDX-License-Identifier: Apache-2.0
"""Slow disks, full rings and clocks that step: each costs what it must, where it must, and nothing else."""
import collections
import socket
import subprocess
import threading
import time
import unittest

import eventserver
import family
import need
import netns
import pcapgen as g
import shim
import traffic

IN_USER_NAMESPACE = True
HOUR = 3600 * 10**9


class Base(unittest.TestCase):
    def start(self, *args, datadir=None, shimmed=True):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)
        self.shim = shim.Shim(self, self.work) if shimmed else None
        self.events = eventserver.EventServer(self, self.work / "e.sock")
        self.run_ = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={self.events.path}", *args,
                                  namespace=self.a.name, work=self.work, datadir=datadir,
                                  env=self.shim.env if shimmed else None).ready()
        self.run_.until(lambda: self.events.accepted, "the hub connects")
        self.server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))
        return self.run_

    def fetch(self, count, size=3000):
        for _ in range(count):
            traffic.fetch(self.b, "10.77.0.1", self.server.port, size)

    def delivered(self):
        return self.run_.metric("shardcap_packets_delivered_total")

    def all_consumed(self):
        m = self.run_.metrics()
        return sum(v for k, v in m.items() if k.startswith("shardcap_packets_consumed_total")) == \
            m["shardcap_packets_delivered_total"]


class SlowDisk(Base):
    FAST = ("-flowtimeout=200ms", "-captureduration=300ms", "-uuidwaitduration=300ms", "-syncinterval=50ms",
            "-mindiskfree=0")

    def consumed_while_files_stand_still(self, run, files):
        """Everything that comes is consumed by all shards, although no file call returns."""
        for _ in range(3):
            self.fetch(10)
            before = self.delivered()
            self.assertGreater(before, 0)
            run.until(self.all_consumed, "all packets are taken by their shards")
        self.assertEqual(run.metric("shardcap_files_total"), files)
        self.assertEqual(run.metric("shardcap_dropped_packets_total"), 0)
        self.assertEqual(run.metric("shardcap_restarts_total"), 0)

    def test_file_calls_that_stand_still(self):
        """Longer than any stall of 2 s: until everything else has gone on for 30 connections."""
        run = self.start("-shards=2", *self.FAST)
        self.fetch(4)
        run.until(lambda: run.metric("shardcap_files_total") == 4, "files")
        self.shim.stall("shardcap-shard")
        self.fetch(4)
        run.until(lambda: self.shim.stalls >= 1, "a file call stands still")
        self.consumed_while_files_stand_still(run, 4)
        self.shim.go_on()
        run.until(lambda: run.metric("shardcap_files_total") == 38, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_a_frozen_file_system(self):
        """The same with a real one: ext4 on a loop device, frozen by fsfreeze."""
        for tool in ("mkfs.ext4", "fsfreeze", "losetup"):
            if not traffic.have(tool):
                self.skipTest(f"{tool} is not here")
        work = family.workdir(self)
        image, mount = work / "disk.img", work / "disk"
        mount.mkdir()
        with open(image, "wb") as f:
            f.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(mount)], capture_output=True).returncode != 0:
            self.skipTest("no loop device can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", str(mount)], check=False)
        mount.chmod(0o777)
        run = self.start("-shards=2", *self.FAST, datadir=mount / "data", shimmed=False)
        self.fetch(4)
        run.until(lambda: run.metric("shardcap_files_total") == 4, "files")
        subprocess.run(["fsfreeze", "-f", str(mount)], check=True)
        try:
            self.fetch(4)
            self.consumed_while_files_stand_still(run, 4)
        finally:
            subprocess.run(["fsfreeze", "-u", str(mount)], check=True)
        run.until(lambda: run.metric("shardcap_files_total") == 38, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})


class Clocks(Base):
    def steps(self, *args):
        run = self.start("-shards=2", "-flowtimeout=1s", "-captureduration=10s", "-uuidwaitduration=2s",
                         "-syncinterval=50ms", *args)
        count = 0
        for step in (0, HOUR, -HOUR, 26 * HOUR, 0):
            self.shim.step_clock(step)
            self.fetch(5)
            count += 5
            run.until(lambda n=count: run.metric("shardcap_files_total") == n, f"files after a step to {step}")
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["drops"], {})
        self.assertEqual(summary["files"], count)
        self.assertEqual(len(run.files()), count)

    def test_steps_of_the_wall_clock(self):
        """An hour forth, two back: no flow ends early or late, none is lost, and timers go on."""
        self.steps()

    def test_steps_with_names_of_the_kernel(self):
        """Whose news are put in order by that clock."""
        self.steps("-uuid.source=kernel")

    def test_steps_with_two_dispatchers(self):
        """Each of them tells by the time of a packet whether it is from before it joined the other."""
        self.steps("-uuid.source=kernel", "-dispatchers=2")

    def test_a_flow_lives_through_a_step(self):
        """One connection over all steps: one file, all its packets."""
        run = self.start("-shards=1", "-flowtimeout=10s", "-captureduration=60s", "-syncinterval=50ms")

        def bulk(size):
            traffic.fetch(self.b, "10.77.0.1", self.server.port, size)
        thread = threading.Thread(target=bulk, args=(200_000_000,))
        thread.start()
        for step in (HOUR, -HOUR, 24 * HOUR, 0):
            before = self.delivered()
            self.shim.step_clock(step)
            run.until(lambda n=before: self.delivered() > n or not thread.is_alive(), "packets")
        thread.join()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(len(run.files()), 1, run.log)


    def midnight(self, *args, announced):
        """Files of before, of after, and one connection over it; the clock steps, so that nobody waits for the night.
        Returns {date: number of files} and the packets of the one that was open."""
        run = self.start("-shards=2", "-flowtimeout=1s", "-captureduration=60s", "-uuidwaitduration=2s",
                         "-syncinterval=50ms", *args)

        def shifted(uuid, local, peer, cookie):
            self.events.emit(g.event_line(uuid, time.time_ns() + self.shift, local[0], local[1], peer[0], peer[1], cookie))
        self.server.on_accept = shifted if announced else None
        day = 24 * HOUR
        midnight = (time.time_ns() // day + 1) * day

        def step(to):
            self.shift = to - time.time_ns() if to else 0
            self.shim.step_clock(self.shift)
        step(midnight - HOUR // 6)
        listener = netns.inside(self.a.name, lambda: socket.create_server(("0.0.0.0", 0)))
        client = netns.inside(self.b.name, lambda: socket.create_connection(("10.77.0.1", listener.getsockname()[1])))
        server, peer = listener.accept()
        cookie = int.from_bytes(server.getsockopt(socket.SOL_SOCKET, traffic.SO_COOKIE, 8), "little")
        if announced:
            shifted(f"open_{cookie:016X}", server.getsockname(), peer, cookie)
        def saved(files):  # the open one must not pause meanwhile
            self.talk(client, server, 1)
            return run.metric("shardcap_files_total") == files
        self.talk(client, server, 20)
        self.fetch(5)
        run.until(lambda: saved(5), "files of before")
        step(midnight + HOUR // 6)
        self.talk(client, server, 20)
        self.fetch(5)
        run.until(lambda: saved(10), "files of after")
        ahead = run.datadir / time.strftime("%Y/%m/%d", time.gmtime((midnight + day) // 10**9))
        run.until(ahead.is_dir, "the day after has its directory before its first file")
        for s in (client, server, listener):
            s.close()
        run.until(lambda: run.metric("shardcap_files_total") == 11, "the one that was open")
        step(None)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        before, after = (time.strftime("%Y/%m/%d", time.gmtime(t // 10**9)) for t in (midnight - 1, midnight))
        dates = collections.Counter(name[:10] for name in run.files())
        self.assertEqual(dates, {before: 6, after: 5})
        (longest,) = [f for name, f in run.files().items() if f"_{cookie:016X}." in name]
        times = [r.ts for r in longest.records]
        self.assertGreaterEqual(len(times), 80)
        self.assertLess(times[0], midnight)
        self.assertGreater(times[-1], midnight)

    def talk(self, client, server, count):
        for _ in range(count):
            client.sendall(b"x")
            self.assertEqual(server.recv(1), b"x")
            server.sendall(b"y")
            self.assertEqual(client.recv(1), b"y")

    def test_midnight_utc_while_it_captures(self):
        """Names by events: the directory is the date of the event."""
        self.midnight(announced=True)

    def test_midnight_utc_with_names_of_the_kernel(self):
        """The directory is the date of the first packet."""
        self.midnight("-uuid.source=kernel", announced=False)


class PacketTimes(unittest.TestCase):
    def read(self, packets, flows, *args):
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        return family.read_savefile(self, path, *args, flows=flows, work=work)

    def test_time_that_goes_back(self):
        """By 1 ns, an hour, to 1970: the records keep their times, and no timer goes back."""
        flow = g.Flow(1)
        times = [0, 10**6, 10**6 - 1, 2 * 10**6, 2 * 10**6 - HOUR, -g.START + 5, 3 * 10**6, 4 * 10**6]
        packets = [flow.packet(g.START + t) for t in times]
        for shards in (1, 3):
            run = self.read(packets, [flow], f"-shards={shards}")
            (saved,) = run.files().values()
            self.assertEqual([r.ts for r in saved.records], [g.START + t for t in times])
            self.assertEqual(run.summary()["drops"], {})

    def test_midnight_utc_during_a_run(self):
        """The directory is the date of the event, or of the first packet; what is open at midnight stays whole."""
        midnight = (g.START // (24 * HOUR) + 1) * 24 * HOUR
        flows = [g.Flow(i) for i in range(5)]
        packets = g.interleave(*[[f.packet(midnight + (f.ident - 2) * 10**9 + n * 2 * 10**9) for n in range(4)]
                                 for f in flows])
        run = self.read(packets, flows, "-shards=2", "-flowtimeout=3s")
        self.assertEqual(run.summary()["drops"], {})
        days = {name.rsplit("/", 1)[1].split(".")[0]: name[:10] for name in run.files()}
        self.assertEqual(days, {f.uuid: "2023/11/14" if f.ident < 2 else "2023/11/15" for f in flows})
        self.assertEqual({len(f.records) for f in run.files().values()}, {4})


if __name__ == "__main__":
    unittest.main()
