# SPDX-License-Identifier: Apache-2.0
"""-shards.external: shards that this test, runit's runsv or another PID namespace starts attach to attach.sock."""
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import threading
import unittest

import family
import need
import netns
import traffic

IN_USER_NAMESPACE = True
UNITS = pathlib.Path(__file__).resolve().parents[2] / "deploy/systemd"
PROTO_VERSION, PROTO_TEXT, PROTO_FDS = 3, 512, 64
TAKEN, WRONG = 75, 78


def setUpModule():
    need.need("netns", "nanocat")


class Shard:
    """shardcap-shard as an outside supervisor starts it."""

    def __init__(self, test, slot, rundir, log, wrapper=(), program=family.BIN / "shardcap-shard", **env):
        self.process = subprocess.Popen([*wrapper, str(program), "-slot", str(slot), "-rundir", str(rundir)],
                                        stdin=subprocess.DEVNULL, stderr=open(log, "ab"), env=family.clean_env(**env))
        test.addCleanup(self._end)

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def wait(self, timeout=30):
        return self.process.wait(timeout)


class External(unittest.TestCase):
    def start(self, *args, **how):
        self.a, self.b = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", "-shards.external", *args,
                                  namespace=self.a.name, **how)
        self.run_.until(lambda: self.run_.said("to attach at"), "it listens")
        return self.run_

    def shard(self, slot, wrapper=(), **how):
        # In the same network namespace, or the kernel could not be asked for its sockets.
        return Shard(self, slot, self.run_.rundir, self.run_.work / "shards.log", [*netns.enter(self.a.name), *wrapper],
                     **how)

    def both(self, **how):
        return [self.shard(slot, **how) for slot in (0, 1)]

    def generation(self, slot):
        return self.run_.status()["processes"][2 + slot]["generation"]

    def finish(self, files, shards=()):
        self.assertEqual(self.run_.stop(), 0, self.run_.log)
        for shard in shards:
            self.assertEqual(shard.wait(), 0)
        self.assertEqual(self.run_.summary()["drops"], {}, self.run_.log)
        self.assertEqual(len(self.run_.files()), files)
        self.assertEqual(self.run_.leftovers(), [])
        self.assertFalse((self.run_.rundir / "attach.sock").exists())


class Attaching(External):
    def test_ready_once_all_are_there_and_they_end_with_it(self):
        run = self.start("-uuid.source=hash")
        first = self.shard(0)
        run.until(lambda: run.get("/readyz")[0] == 503, "it is not ready with one of two")
        second = self.shard(1)
        run.ready()
        server = traffic.Server(self, self.a)
        for _ in range(8):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        self.finish(8, (first, second))

    def test_a_slot_has_one_holder(self):
        run = self.start("-uuid.source=hash")
        shards = self.both()
        run.ready()
        self.assertEqual(self.shard(0).wait(), TAKEN)
        self.assertEqual(self.shard(1).wait(), TAKEN)
        self.assertEqual(self.shard(2).wait(), WRONG)
        self.assertEqual(self.shard(64000).wait(), WRONG)
        for line in ("slot 0 is taken", "slot 1 is taken", "there is no slot 2"):
            self.assertIn(line, (run.work / "shards.log").read_text())
        self.finish(0, shards)

    def test_nobody_there(self):
        work = family.workdir(self)
        self.assertEqual(Shard(self, 0, work, work / "log").wait(), TAKEN)
        self.assertIn("no supervisor at", (work / "log").read_text())

    def join(self, version, slot, layout):
        """What a program of another build says; the (version, type, value, text) that it hears."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(30)
            s.connect(str(self.run_.rundir / "attach.sock"))
            s.send(struct.pack("=IHHIIq", version, self.JOIN, 0, slot, 0, 0) + bytes(4 * PROTO_FDS) +
                   layout.encode().ljust(PROTO_TEXT, b"\0"))
            answer = s.recv(4096)
        if not answer:
            return None
        return *struct.unpack_from("=IH", answer), struct.unpack_from("=q", answer, 16)[0], \
            answer[24 + 4 * PROTO_FDS:].split(b"\0")[0].decode()

    JOIN, REFUSED = 15, 16

    def test_other_versions_are_told_so(self):
        run = self.start("-uuid.source=hash")
        layout = subprocess.run([family.BIN / "shardcap-shard", "-layout"], capture_output=True, text=True,
                                check=True).stdout
        words = layout.split()
        for name in words[::2]:
            if name == "arena":  # there is none yet to be read by another layout
                continue
            other = " ".join(str(int(n) + 1) if w == name else n for w, n in zip([""] + words, words))
            version, kind, status, text = self.join(PROTO_VERSION, 0, other)
            self.assertEqual((version, kind, status), (PROTO_VERSION, self.REFUSED, WRONG), (other, text))
            self.assertIn("another version", text)
        self.assertEqual(self.join(PROTO_VERSION + 1, 0, layout)[:3], (PROTO_VERSION, self.REFUSED, WRONG))
        shards = self.both()
        run.ready()
        shards[0].process.kill()
        shards[0].wait()
        family.until(lambda: not run.status()["processes"][2]["up"], "its end is seen")
        other = layout.replace(f"arena {words[-1]}", f"arena {int(words[-1]) + 1}")
        self.assertEqual(self.join(PROTO_VERSION, 0, other)[1:3], (self.REFUSED, WRONG))
        self.assertEqual(run.status()["processes"][2]["generation"], 1)
        again = self.shard(0)
        run.ready()
        self.finish(0, (again, shards[1]))

    def test_another_user_may_not_attach(self):
        need.need("root")
        run = self.start("-uuid.source=hash")
        (run.rundir / "attach.sock").chmod(0o666)
        run.rundir.chmod(0o755)
        stranger = self.shard(0, wrapper=("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"))
        self.assertEqual(stranger.wait(), WRONG)
        self.assertIn("your user may not attach", (run.work / "shards.log").read_text())
        shards = self.both()
        run.ready()
        self.finish(0, shards)

    def test_many_that_say_nothing_keep_nobody_out(self):
        run = self.start("-uuid.source=hash")
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(40)]
        for s in silent:
            self.addCleanup(s.close)
            s.connect(str(run.rundir / "attach.sock"))
        shards = {}

        def attached():
            for slot in (0, 1):
                if slot not in shards or shards[slot].process.poll() is not None:
                    shards[slot] = self.shard(slot)
            return run.get("/readyz")[0] == 200
        run.until(attached, "the silent ones are cut off")
        self.finish(0, shards.values())


class Leaving(External):
    def test_sigterm_twenty_times_each_under_load(self):
        """Status 0 at once, the successor goes on in the same files, and nothing is lost."""
        need.need("tcpdump")
        run = self.start("-uuid.source=hash")
        shards = self.both()
        run.ready()
        server = traffic.Server(self, self.a)
        dump = traffic.Tcpdump(self, self.a, "veth0", run.work / "dump.pcap")
        stop, flows = threading.Event(), []

        def pull():
            while not stop.is_set():
                flows.append(traffic.fetch(self.b, "10.77.0.1", server.port, 1_000_000))
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            for i in range(40):
                slot = i % 2
                shards[slot].process.send_signal(signal.SIGTERM)
                self.assertEqual(shards[slot].wait(), 0)
                shards[slot] = self.shard(slot)
                run.until(lambda: run.metric("shardcap_restarts_total") == i + 1 and run.get("/readyz")[0] == 200,
                          "the successor is ready")
        finally:
            stop.set()
            thread.join()
        dumped = dump.stop()
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        self.finish(len(flows), shards)
        traffic.check_same_headers(self, run, dumped)

    def test_kill_and_a_long_absence(self):
        """What comes meanwhile waits in the ring; nobody else starts a successor."""
        run = self.start("-uuid.source=hash")
        shards = self.both()
        run.ready()
        server = traffic.Server(self, self.a)
        for shard in shards:
            shard.process.kill()
            shard.wait()
        for _ in range(10):
            traffic.fetch(self.b, "10.77.0.1", server.port, 30_000)
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 80, "packets are delivered")
        self.assertNotIn("shardcap-shard", run.children())
        shards = self.both()
        run.ready()
        self.finish(10, shards)

    def test_the_end_waits_for_one_that_is_away(self):
        """It holds packets, so whoever owns it gets the time to start it again."""
        run = self.start("-uuid.source=hash")
        shards = self.both()
        run.ready()
        server = traffic.Server(self, self.a)
        for _ in range(6):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 48, "packets are delivered")
        for shard in shards:
            shard.process.send_signal(signal.SIGTERM)
            self.assertEqual(shard.wait(), 0)
        os.kill(run.process.pid, signal.SIGTERM)
        run.until(lambda: run.said("stopping grace"), "it stops")
        shards = self.both()
        self.finish(6, shards)

    def test_the_supervisor_dies(self):
        run = self.start("-uuid.source=hash")
        shards = self.both()
        run.ready()
        server = traffic.Server(self, self.a)
        for _ in range(4):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 32, "packets are delivered")
        run.process.kill()
        for shard in shards:
            self.assertEqual(shard.wait(), 0)
        self.assertEqual(len(run.files()), 4)
        self.assertEqual(self.shard(0).wait(), TAKEN)


class Poison(External):
    MARK = 0xDEAD0001
    CRASHING = family.BIN.parent / "crash/bin/shardcap-shard"

    def frame(self, port, number):
        tcp = struct.pack(">HHIIBBHHH", port, 443, number, 0, 0x50, 16, 1000, 0, 0)
        ip = b"\x45\0" + struct.pack(">HHHBBH", 40, 0, 0, 64, 6, 0) + bytes((192, 0, 2, 77, 198, 51, 100, 7))
        return bytes.fromhex("020202020202040404040404") + b"\x08\x00" + ip + tcp

    def sender(self):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("veth0", 0))
        return s

    def test_a_packet_that_crashes_a_shard_is_left_out(self):
        """Its supervisor is somebody else, who starts it again and again; what it died of it says itself."""
        if not self.CRASHING.exists():
            raise unittest.SkipTest(f"{self.CRASHING} is not built: make crashpoints")
        run = self.start("-uuid.source=hash", "-filter.raw=tcp")

        def start(slot):
            return self.shard(slot, program=self.CRASHING, SHARDCAP_CRASH=f"consume.record={self.MARK}:fault")
        shards = [start(0), start(1)]
        run.ready()
        sender = self.b.inside(self.sender)
        self.addCleanup(sender.close)
        for number in range(30):
            for port in range(10):
                sender.send(self.frame(10000 + port, self.MARK if (port, number) == (7, 20) else number))
        crashes = []

        def left_out():
            for slot, shard in enumerate(shards):
                if shard.process.poll() is not None:
                    crashes.append(shard.process.returncode)
                    shards[slot] = start(slot)
            return run.metric("shardcap_dropped_packets_total") == 1
        run.until(left_out, "the packet is left out", 60)
        self.assertEqual(crashes, [-signal.SIGILL] * 3)
        run.ready()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual([shard.wait() for shard in shards], [0, 0])
        self.assertEqual(run.summary()["drops"], {"poison": 1}, run.log)
        self.assertEqual(len(run.files()), 10)


class Supervised(External):
    def test_runit(self):
        """runsv starts it, sv restarts it, and it comes back by itself after a kill."""
        need.need("runsv")
        run = self.start("-uuid.source=hash")
        services = []
        for slot in (0, 1):
            service = run.work / f"shard{slot}"
            service.mkdir()
            script = service / "run"
            script.write_text(f"#!/bin/sh\nexec 2>>{run.work}/shards.log\nexec {family.BIN}/shardcap-shard -slot {slot} "
                              f"-rundir {run.rundir}\n")
            script.chmod(0o755)
            runsv = subprocess.Popen([*netns.enter(self.a.name), "runsv", str(service)], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=family.clean_env())
            self.addCleanup(runsv.wait)
            self.addCleanup(runsv.send_signal, signal.SIGTERM)  # runsv: end the service, then yourself
            services.append(service)
        run.ready()
        server = traffic.Server(self, self.a)
        for i, how in enumerate(("term", "kill", "restart")):
            for _ in range(3):
                traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
            for service in services:
                subprocess.run(["sv", how, str(service)], check=True, capture_output=True, timeout=30)
            run.until(lambda: run.metric("shardcap_restarts_total") == 2 * (i + 1) and run.get("/readyz")[0] == 200,
                      f"both are back after sv {how}")
        self.assertRegex(run.ctl("restart all"), "^ok restarting 3 processes")  # theirs are told to leave, too
        run.settled()
        self.assertEqual([p["generation"] for p in run.status()["processes"][2:]], [5, 5])
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), 9)

    def test_shards_that_the_supervisor_cannot_see(self):
        """It lives in a PID namespace below theirs, so their pids are 0 there: the end of the socket decides."""
        need.need("pidns")
        run = self.start("-uuid.source=hash", wrapper=("unshare", "--pid", "--fork", "--kill-child"))
        shards = self.both()
        run.ready()
        self.assertEqual([p["pid"] for p in run.status()["processes"][2:]], [0, 0])
        server = traffic.Server(self, self.a)
        for _ in range(3):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        shards[0].process.kill()
        shards[0].wait()
        shards[1].process.send_signal(signal.SIGTERM)
        self.assertEqual(shards[1].wait(), 0)
        shards = self.both()
        run.ready()
        self.assertEqual(run.metric("shardcap_restarts_total"), 2)
        (inner, _), = family.children_of(run.process.pid)
        os.kill(inner, signal.SIGTERM)
        self.finish(3, shards)

    def test_shards_in_namespaces_of_their_own(self):
        need.need("pidns")
        run = self.start("-uuid.source=hash")
        shards = self.both(wrapper=("unshare", "--pid", "--fork", "--kill-child"))
        run.ready()
        server = traffic.Server(self, self.a)
        for _ in range(3):
            traffic.fetch(self.b, "10.77.0.1", server.port, 3000)
        (inner, _), = family.children_of(shards[0].process.pid)
        os.kill(inner, signal.SIGKILL)
        shards[0].wait()
        shards[0] = self.shard(0, wrapper=("unshare", "--pid", "--fork", "--kill-child"))
        run.ready()
        self.finish(3, shards)


class Units(unittest.TestCase):
    def test_unit_files_verify(self):
        """As installed: programs in /usr/bin, drop-in in place."""
        need.need("systemd-analyze")
        work = family.workdir(self)
        root = work / "root"
        units = root / "etc/systemd/system"
        (units / "shardcap.service.d").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        (root / "bin").mkdir()
        shutil.copy("/bin/kill", root / "bin")
        for program in family.PROGRAMS:
            shutil.copy(family.BIN / program, root / "usr/bin" / program)
        for name in ("shardcap.service", "shardcap-shard@.service"):
            shutil.copy(UNITS / name, units)
        shutil.copy(UNITS / "shardcap-external.conf", units / "shardcap.service.d")
        for unit in ("sysinit.target", "basic.target", "shutdown.target", "network.target", "multi-user.target"):
            (units / unit).write_text("[Unit]\nDescription=for the test\n")
        done = subprocess.run(["systemd-analyze", "verify", f"--root={root}", "--man=no", "--recursive-errors=no",
                               str(units / "shardcap.service"), str(units / "shardcap-shard@.service"),
                               str(units / "shardcap-shard@0.service")],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
