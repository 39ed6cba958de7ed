# SPDX-License-Identifier: Apache-2.0
"""Threats from outside, tried on the whole family: names that would leave the tree, links planted in it, clients of the
page who take their time. (What a process can still do once it is taken over: test_confinement.py.)"""
import json
import pathlib
import re
import socket
import subprocess
import time
import unittest

import expected
import family
import need
import netns
import pcapgen as g

IN_USER_NAMESPACE = True

NAMES = ["../../etc/x", "/abs", "a/b", ".", "..", "", "a\0b", "a" * 300, "a\nb", "%2e", "a\\b", "-rf", "a..b", ".hidden",
         "a b", "\u00fc", "a\u2044b"]


def listing(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*"))


class Names(unittest.TestCase):
    """UUIDs are foreign text and become file names."""

    def lines(self, flow):
        """An event for each bad name, and one with a slash in two bytes too many (no JSON library writes that)."""
        out = [json.dumps(dict(json.loads(flow.event(g.START)), UUID=name)).encode() + b"\n" for name in NAMES]
        return out + [flow.event(g.START).encode().replace(flow.uuid.encode(), b"a\xc0\xafb")]

    def test_from_a_file(self):
        flow = g.Flow(1)
        packets = flow.conversation(g.START)
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        (work / "events").write_bytes(b"".join(self.lines(flow)))
        run = family.read_savefile(self, path, f"-uuid.events={work}/events", work=work)
        self.assertEqual(run.summary()["drops"], {"no_uuid": len(packets)}, run.log)
        self.assertEqual([n for n in listing(work / "data") if not re.fullmatch(r"[0-9/]+|\.staging.*", n)], [])
        (work / "events").write_bytes(b"".join(self.lines(flow)) + flow.event().encode())  # the next good line works
        run = family.read_savefile(self, path, f"-uuid.events={work}/events", work=work)
        self.assertEqual([f.raw for f in run.files().values()], [expected.file_bytes(packets)])

    def test_from_ctl_sock(self):
        need.need("nanocat", "netns")
        a, _ = netns.pair(self)
        run = family.Family(self, "-interface=veth0", namespace=a.name).ready()
        lines = self.lines(g.Flow(1))
        for line in lines:
            message = run.work / "message"
            message.write_bytes(b"uuid.open " + line.rstrip(b"\n"))
            done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{run.rundir}/ctl.sock", "-A", "--recv-timeout",
                                   "5", "--send-timeout", "5", "--file", str(message)], capture_output=True, timeout=30,
                                  check=False)
            self.assertRegex(done.stdout, rb"^error bad(uuid|json): ", line)
        self.assertEqual(run.metric("pcap_tcpinfohandler_bad_events_total"), len(lines))
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.files(), {})


class Links(unittest.TestCase):
    """Symbolic links planted where the shard makes directories and files: it never writes through one."""

    def setUp(self):
        self.flow = g.Flow(1)
        self.packets = self.flow.conversation(g.START)  # 2023/11/14
        self.work = family.workdir(self)
        self.outside = self.work / "outside"
        self.outside.mkdir(mode=0o777)
        self.outside.chmod(0o777)
        (self.work / "data").mkdir()
        self.work.joinpath("events").write_text(self.flow.event())
        self.path = g.write(self.work / "in.pcap", g.pcap(self.packets))

    def run_(self):
        run = family.Family(self, "-read", self.path, f"-uuid.events={self.work}/events", work=self.work)
        run.proves = False  # verify takes a link for what it is
        return run, run.wait()

    def plant(self, *parts):
        """A link to `outside`, which has all that is looked for below the place (or to a file there)."""
        place = self.work / "data" / pathlib.Path(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        if len(parts) == 4:
            place.symlink_to(self.outside / "file")
        else:
            (self.outside / pathlib.Path(*["2023", "11", "14"][len(parts):])).mkdir(parents=True, exist_ok=True)
            place.symlink_to(self.outside)
        return place

    def test_in_place_of_a_directory(self):
        for parts in (("2023",), ("2023", "11"), ("2023", "11", "14")):
            with self.subTest(parts=parts):
                self.setUp()
                place = self.plant(*parts)
                before = listing(self.outside)
                run, status = self.run_()
                self.assertEqual(status, 1, run.log)
                self.assertEqual(run.summary(files=False)["drops"], {"disk_error": len(self.packets)}, run.log)
                self.assertEqual(listing(self.outside), before)
                self.assertTrue(place.is_symlink())

    def test_in_place_of_the_file(self):
        name = f"{self.flow.uuid}.pcap.gz"
        place = self.plant("2023", "11", "14", name)
        run, status = self.run_()
        self.assertEqual(status, 0, run.log)
        self.assertEqual(listing(self.outside), [])
        self.assertTrue(place.is_symlink())
        saved = self.work / "data/2023/11/14" / f"{self.flow.uuid}.1.pcap.gz"
        self.assertTrue(saved.is_file() and not saved.is_symlink())
        place.unlink()
        self.assertEqual(run.summary()["drops"], {})

    def test_in_place_of_the_staged_file(self):
        """Every name that a staged file may have: a link there is replaced or left, never followed."""
        staging = self.work / "data.staging"
        staging.mkdir()
        for slot in range(2):
            for number in range(64):
                (staging / f"20231114.{self.flow.uuid}.{slot}.{number}.part").symlink_to(self.outside / "file")
        run, _ = self.run_()
        self.assertEqual(listing(self.outside), [], run.log)
        run.summary()


class Page(unittest.TestCase):
    """HTTP is for reading, small and short."""

    def setUp(self):
        need.need("netns")
        self.a, _ = netns.pair(self)
        self.run_ = family.Family(self, "-interface=veth0", namespace=self.a.name).ready()

    def dial(self):
        def go():
            s = socket.create_connection(self.run_.url(), timeout=20)
            self.addCleanup(s.close)
            return s
        return netns.inside(self.a.name, go)

    def ask(self, request):
        s = self.dial()
        s.sendall(request)
        answer = b""
        while True:
            try:
                more = s.recv(65536)
            except ConnectionResetError:
                return answer
            if not more:
                return answer
            answer += more

    def test_curl(self):
        need.need("curl")
        host, port = self.run_.url()
        for page in ("/", "/metrics", "/healthz", "/readyz", "/api/status"):
            done = subprocess.run([*netns.enter(self.a.name), "curl", "-sS", "-I", f"http://{host}:{port}{page}"],
                                  capture_output=True, text=True, timeout=30, check=True)
            self.assertTrue(done.stdout.startswith("HTTP/1.1 200 OK"), done.stdout)
            self.assertRegex(done.stdout, r"(?i)content-length: [1-9]")
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"):
            self.assertRegex(self.ask(f"{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n".encode())[:12], rb"HTTP/1\.[01] (4|5)0[0-9]")

    def test_a_head_of_more_than_4_kib(self):
        self.assertTrue(self.ask(b"GET /healthz HTTP/1.1\r\nA: " + b"a" * 3000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200"))
        self.assertNotIn(b" 200 ", self.ask(b"GET /healthz HTTP/1.1\r\nA: " + b"a" * 5000 + b"\r\n\r\n")[:20])
        self.assertNotIn(b" 200 ", self.ask(b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n\r\n")[:20])

    def test_eight_connections_and_slow_ones_are_cut(self):
        idle = [self.dial() for _ in range(20)]
        for s in idle:
            s.sendall(b"GET /metrics HTTP/1.1\r\nX: ")  # and never the rest
        self.assertEqual(self.run_.get("/healthz")[0], 200)  # a scraper is served all the same
        (hub,) = self.run_.children()["shardcap-hub"]
        deadline = time.monotonic() + 60
        for s in idle:
            s.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                self.assertNotIn(b" 200 ", s.recv(100))  # cut, or told that it took too long
            except ConnectionResetError:
                pass
        self.assertEqual(self.run_.children()["shardcap-hub"], [hub])
        self.assertEqual(self.run_.stop(), 0, self.run_.log)


class Sockets(unittest.TestCase):
    def test_who_may_open_them(self):
        need.need("netns")
        a, _ = netns.pair(self)
        run = family.Family(self, "-interface=veth0", namespace=a.name).ready()
        modes = {str(p.relative_to(run.rundir)): oct(p.lstat().st_mode & 0o7777)
                 for p in [run.rundir, *run.rundir.rglob("*")] if p.is_socket() or p.is_dir()}
        self.assertEqual(modes.pop("."), "0o750")
        self.assertEqual(modes.pop("bus"), "0o750")
        self.assertEqual({mode for name, mode in modes.items() if name.startswith("bus/")}, {"0o600"}, modes)
        self.assertEqual({mode for name, mode in modes.items() if not name.startswith("bus/")} - {"0o660", "0o600"}, set(),
                         modes)
        self.assertEqual(run.stop(), 0, run.log)


if __name__ == "__main__":
    unittest.main()
