# SPDX-License-Identifier: Apache-2.0
"""The dispatcher is replaced while packets come, again and again: none is lost and none is doubled. And either of the
two dispatchers is killed while one hands over to the other."""
import errno
import os
import random
import shutil
import signal
import socket
import struct
import threading
import time
import unittest

import family
import need
import netns
import pcapgen
import shim
import traffic

IN_USER_NAMESPACE = True
FLOWS = 20


def setUpModule():
    need.need("netns", "nanocat")


def frame(ident, number):
    """One of a flow's packets, numbered by its sequence number."""
    ip = struct.pack(">HHHBBH", 40, 0, 0, 64, 6, 0) + bytes((192, 0, 2, 77)) + bytes((198, 51, 100, 7))
    ip = b"\x45\x00" + ip
    ip = ip[:10] + struct.pack(">H", pcapgen.checksum(ip)) + ip[12:]
    tcp = struct.pack(">HHIIBBHHH", 10000 + ident, 443, number, 0, 0x50, 2 if number == 0 else 16, 1000, 0xab, 0)
    return bytes.fromhex("020202020202040404040404") + b"\x08\x00" + ip + tcp


class Sender(threading.Thread):
    """Numbered packets of FLOWS flows, as fast as Python can, until told to stop."""

    def __init__(self, space):
        super().__init__(daemon=True)
        self.socket = space.inside(self.open)
        self.sent, self.stop_ = 0, threading.Event()

    @staticmethod
    def open():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("veth0", 0))
        return s

    def run(self):
        while not self.stop_.is_set():
            for _ in range(50):
                self.socket.send(frame(self.sent % FLOWS, self.sent // FLOWS))
                self.sent += 1
            time.sleep(0.002)

    def end(self):
        self.stop_.set()
        self.join()
        self.socket.close()
        return self.sent


class Kit(unittest.TestCase):
    def start(self, *args, programs=None, work=None, env=None):
        self.a, self.b = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", "-shards=2", "-uuid.source=hash", "-filter.raw=tcp",
                                  *args, namespace=self.a.name, programs=programs, work=work, env=env).ready()
        return self.run_

    def dispatchers(self):
        return sorted(self.run_.children().get("shardcap-dispatcher", []))

    def replace(self):
        before = self.dispatchers()
        self.assertRegex(self.run_.ctl("restart dispatcher"), "^ok restarting dispatcher")
        self.run_.settled()
        self.assertEqual(len(before), 1)
        self.assertNotIn(before[0], self.dispatchers())

    def numbers(self):
        """The packets in the files, as (flow, number), each once and in order within its flow."""
        out = []
        for file in self.run_.files().values():
            got = [struct.unpack(">I", r.data[38:42])[0] for r in file.records]
            flow = {struct.unpack(">H", r.data[34:36])[0] - 10000 for r in file.records}
            self.assertEqual(len(flow), 1, "foreign packets")
            self.assertEqual(got, sorted(set(got)), "doubled, or out of order")
            out += [(min(flow), n) for n in got]
        self.assertEqual(len(out), len(set(out)), "doubled")
        return out

    def finish(self, sent=None):
        """sent: all of them are in the files; else what was delivered is."""
        run = self.run_
        if sent is not None:
            run.until(lambda: run.metric("shardcap_packets_delivered_total") >= sent, "all is delivered")
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual(summary["drops"], {}, run.log)
        found = self.numbers()
        self.assertEqual(len(found), summary["packets"]["delivered"])
        if sent is not None:
            self.assertEqual(set(found), {(n % FLOWS, n // FLOWS) for n in range(sent)})
            self.assertEqual(summary["kernel"], {"received": sent, "dropped": 0}, "the kernel's counts add up, too")
        return summary


class HandOver(Kit):
    timeout = 240

    def test_none_of_the_packets_is_lost_or_doubled(self):
        run = self.start()
        sender = Sender(self.b)
        sender.start()
        for _ in range(12):
            self.replace()
        sent = sender.end()
        self.assertGreater(sent, 20000)
        self.assertEqual(run.metric("shardcap_capture_gap_seconds"), 0)
        self.assertEqual(run.metric("shardcap_restarts_total"), 12)
        self.assertNotIn("could not be replaced", run.log)
        self.assertNotIn("impossible index", run.log)
        self.finish(sent)

    def test_what_comes_before_the_join_is_not_doubled(self):
        """An heir that takes 0.1 s from its opening of the interface until it joins the group."""
        work = family.workdir(self)
        slow = shim.Shim(self, work)
        run = self.start(work=work, env=slow.env)
        slow.fail("shardcap-dispatcher", "fanout", 1, error=0, ever=True)
        sender = Sender(self.b)
        sender.start()
        for _ in range(3):
            self.replace()
        sent = sender.end()
        self.assertEqual(slow.calls, 3)
        self.assertEqual(run.metric("shardcap_capture_gap_seconds"), 0)
        self.finish(sent)

    def test_a_kernel_without_such_groups(self):
        """One after the other, with a gap that shows."""
        work = family.workdir(self)
        none = shim.Shim(self, work)
        none.fail("shardcap-dispatcher", "fanout", 1, error=errno.EINVAL, ever=True)
        run = self.start(work=work, env=none.env)
        sender = Sender(self.b)
        sender.start()
        self.replace()
        run.ready()
        self.assertGreater(run.metric("shardcap_capture_gap_seconds"), 0)
        self.assertIn("an interface cannot be taken over", run.log)
        sender.end()
        self.finish()

    def test_both_directions_and_a_new_program(self):
        """`restart all` with another dispatcher on disk, in the middle of transfers: the files hold what tcpdump saw."""
        need.need("tcpdump")
        work = family.workdir(self)
        programs = family.copied_programs(work)
        run = self.start(programs=programs, work=work)
        server = traffic.Server(self, self.a)
        dump = traffic.Tcpdump(self, self.a, "veth0", work / "dump.pcap")
        stop, fetched = threading.Event(), []

        def pull():
            while not stop.is_set():
                fetched.append(traffic.fetch(self.b, "10.77.0.1", server.port, 300_000))
                time.sleep(0.05)
        thread = threading.Thread(target=pull)
        thread.start()
        try:
            for i in range(3):
                before = self.dispatchers()
                for program in family.PROGRAMS if i == 1 else ["shardcap-dispatcher"]:
                    shutil.copy(family.BIN / program, programs / "new")
                    os.replace(programs / "new", programs / program)
                self.assertRegex(run.ctl("restart all"), f"^ok restarting {5 if i == 1 else 4} processes$")
                run.settled()
                self.assertNotEqual(before, self.dispatchers())
                self.assertEqual(os.stat(f"/proc/{self.dispatchers()[0]}/exe").st_ino,
                                 os.stat(programs / "shardcap-dispatcher").st_ino)
        finally:
            stop.set()
            thread.join()
        dumped = dump.stop()
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= len(dumped), "all is delivered")
        self.assertEqual(run.metric("shardcap_capture_gap_seconds"), 0)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {}, run.log)
        self.assertEqual(len(run.files()), len(fetched))
        traffic.check_same_headers(self, run, dumped)

    def test_a_new_program_that_does_not_come_up(self):
        """What captures goes on, in the old program, and the next one is taken."""
        work = family.workdir(self)
        programs = family.copied_programs(work)
        run = self.start(programs=programs, work=work)
        sender = Sender(self.b)
        sender.start()
        before = self.dispatchers()
        shutil.copy(family.BIN / "shardcap-hub", programs / "new")  # it has the same layouts, and no idea of packets
        os.replace(programs / "new", programs / "shardcap-dispatcher")
        self.assertRegex(run.ctl("restart all"), "^ok restarting 4 processes$")
        run.settled()
        self.assertEqual(self.dispatchers(), before)
        self.assertIn("does not come up: the one that captures goes on", run.log)
        shutil.copy(family.BIN / "shardcap-dispatcher", programs / "new")
        os.replace(programs / "new", programs / "shardcap-dispatcher")
        self.assertRegex(run.ctl("restart all"), "^ok restarting 4 processes$")
        run.settled()
        self.assertNotEqual(self.dispatchers(), before)
        self.finish(sender.end())

    def test_several_interfaces_and_one_that_comes_later(self):
        """Without -interface: loopback is left alone, what comes up afterwards is captured, too."""
        self.a, self.b = netns.pair(self)
        netns.join(self.a, self.b, "veth1", "veth1", net=78)
        run = self.run_ = family.Family(self, "-shards=2", "-uuid.source=hash", "-filter.raw=tcp",
                                        namespace=self.a.name).ready(interfaces=2)
        server = traffic.Server(self, self.a)
        self.replace()
        run.ready(interfaces=2)
        traffic.fetch(self.b, "10.77.0.1", server.port, 1000)
        traffic.fetch(self.b, "10.78.0.1", server.port, 1000)
        netns.join(self.a, self.b, "veth2", "veth2", net=79)
        run.ready(interfaces=3)
        self.replace()
        run.ready(interfaces=3)
        traffic.fetch(self.b, "10.79.0.1", server.port, 1000)
        self.a.ip("link", "del", "veth1")
        run.until(lambda: run.metric("pcap_muxer_interfaces_with_captures") == 2, "one has gone")
        self.replace()
        run.ready(interfaces=2)
        traffic.fetch(self.b, "10.77.0.1", server.port, 1000)
        self.assertEqual(run.metric("shardcap_capture_gap_seconds"), 0)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(len(run.files()), 4, run.log)


class Killed(Kit):
    """At a moment of chance while there are two. What was delivered is in the files, and a dispatcher comes back."""
    timeout = 240

    def attack(self, what):
        run = self.start()
        sender = Sender(self.b)
        sender.start()
        rng, hits = random.Random(5), 0
        for _ in range(30):
            if hits == 6:
                break
            before = self.dispatchers()
            self.assertRegex(run.ctl("restart dispatcher"), "^ok restarting dispatcher")
            run.until(lambda: len(self.dispatchers()) == 2 or self.dispatchers() != before, "an heir is there", 20)
            time.sleep(rng.uniform(0, 0.1))
            now = self.dispatchers()
            if len(now) == 2 and before[0] in now:
                hits += 1
                what(before[0], max(set(now) - set(before)))
            run.settled()
            run.ready()
            self.assertEqual(len(self.dispatchers()), 1)
            self.assertNotIn(before[0], self.dispatchers())
        sender.end()
        self.assertEqual(hits, 6)
        self.finish()

    @staticmethod
    def end(pid, sig=signal.SIGKILL):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass

    def test_the_old_one(self):
        self.attack(lambda old, heir: self.end(old))

    def test_the_heir(self):
        self.attack(lambda old, heir: self.end(heir))

    def test_both(self):
        def both(old, heir):
            self.end(old)
            self.end(heir)
        self.attack(both)

    def test_the_supervisor(self):
        """All end, with what they have."""
        for pause in (0, 0.05):
            run = self.start()
            before = self.dispatchers()
            self.assertRegex(run.ctl("restart dispatcher"), "^ok restarting dispatcher")
            run.until(lambda: self.dispatchers() != before, "an heir is there", 20)
            time.sleep(pause)
            pids = [pid for group in run.children().values() for pid in group]
            run.process.kill()
            run.process.wait()
            family.until(lambda: not [pid for pid in pids if os.path.exists(f"/proc/{pid}")], "all are gone", 20,
                         lambda: run.log)

    def test_an_heir_that_hangs(self):
        """It is killed after its time to start, and the old one goes on until then."""
        run = self.start()
        sender = Sender(self.b)
        sender.start()
        before = self.dispatchers()
        self.assertRegex(run.ctl("restart dispatcher"), "^ok restarting dispatcher")
        run.until(lambda: len(self.dispatchers()) == 2, "an heir is there", 20)
        heir = max(set(self.dispatchers()) - set(before))
        self.end(heir, signal.SIGSTOP)
        run.until(lambda: heir not in self.dispatchers(), "it is killed")
        run.settled()
        run.ready()
        sender.end()
        self.finish()

    def test_the_dispatcher_in_the_grace(self):
        """Without a hand-over: a successor goes on for what is left of it."""
        run = self.start("-sigtermwait=4s")
        sender = Sender(self.b)
        sender.start()
        before = self.dispatchers()
        os.kill(run.supervisor(), signal.SIGTERM)
        time.sleep(0.2)
        self.end(before[0])
        run.until(lambda: run.children().get("shardcap-dispatcher") and before != self.dispatchers(),
                  "a successor is there")
        run.until(lambda: run.said("restarted child=dispatcher"), "it is ready")
        sent = sender.sent
        run.until(lambda: run.metric("shardcap_packets_delivered_total") > sent, "it captures")
        sender.end()
        self.assertEqual(run.wait(), 0, run.log)
        summary = run.summary()
        self.assertEqual(len(self.numbers()), summary["packets"]["delivered"])
        self.assertEqual(run.log.count("restarted child=dispatcher"), 1)

    def test_the_end_is_asked_for_meanwhile(self):
        """The grace is kept, and every packet sent before the end is in a file."""
        for pause in (0, 0.02, 0.05, 0.1):
            run = self.start("-sigtermwait=500ms")
            sender = Sender(self.b)
            sender.start()
            before = self.dispatchers()
            self.assertRegex(run.ctl("restart dispatcher"), "^ok restarting dispatcher")
            run.until(lambda: self.dispatchers() != before, "an heir is there", 20)
            time.sleep(pause)
            os.kill(run.supervisor(), signal.SIGTERM)
            time.sleep(0.2)
            sent = sender.end()
            self.assertEqual(run.wait(), 0, run.log)
            summary = run.summary()
            self.assertEqual(summary["drops"], {}, run.log)
            self.assertEqual(set(self.numbers()), {(n % FLOWS, n // FLOWS) for n in range(sent)}, run.log)


if __name__ == "__main__":
    unittest.main()
