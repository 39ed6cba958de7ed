# SPDX-License-Identifier: Apache-2.0
"""The kernel source with real sockets between namespaces: every connection, however short, gets a file named by the cookie
that the server reads with SO_COOKIE, and the file holds that connection; none is named otherwise."""
import itertools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import unittest

import eventclient
import family
import need
import netns
import nosockdiag
import traffic

SO_COOKIE = 57
LINGER_0 = struct.pack("ii", 1, 0)
KINDS = ("client", "server", "reset", "abort")  # who closes; reset: the client, abort: the server, both by SO_LINGER 0

# Connects so many pairs, says how many sockets these are, and keeps them until its input ends.
HOLDER = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server(("127.0.0.1", 0))
kept = []
for _ in range(int(sys.argv[1])):
    kept += socket.create_connection(listener.getsockname()), listener.accept()[0]
print(len(kept), flush=True)
sys.stdin.read()
"""


def cookie(connection):
    return struct.unpack("Q", connection.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]


def mixed(i):
    return KINDS[i % 4]


class Kernel(unittest.TestCase):
    timeout = 900

    def setUp(self):
        need.need("netns")
        self.a, self.b = netns.pair(self)

    def start(self, *flags, **how):
        return family.Family(self, "-interface=veth0", "-shards=2", "-flowtimeout=2s", *flags, namespace=self.a.name,
                             **how).ready()

    def listen(self, host, space=None):
        def go():
            v6 = ":" in host
            s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if v6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.bind((host, 0))
            s.listen(256)
            return s
        listener = (space or self.a).inside(go)
        self.addCleanup(listener.close)
        return listener

    def connections(self, count, how, host="10.77.0.1", bind=None, client_port=None, peers=None):
        """`count` connections, one after the other, each closed as how(i) says; those to be aborted come from the addresses
        `peers` in turn. {cookie of the server's socket: port of the client}."""
        found = {}
        listener = self.listen(bind or host)
        port = listener.getsockname()[1]

        def serve():
            for i in range(count):
                c, peer = listener.accept()
                with c:
                    found[cookie(c)] = peer[1]
                    c.recv(16)
                    c.sendall(b"x" * 100)
                    if how(i) == "abort":
                        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                    try:
                        while how(i) not in ("server", "abort") and c.recv(16):
                            pass
                    except ConnectionResetError:
                        pass

        def fetch():
            turn = itertools.cycle(peers or [])
            for i in range(count):
                with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
                    if client_port:
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        s.bind(("", client_port))
                    elif peers and how(i) == "abort":
                        s.bind((next(turn), 0))
                    self.fetch_one(s, (host, port), how(i))
        server = threading.Thread(target=self.a.inside, args=(serve,))
        server.start()
        self.b.inside(fetch)
        server.join()
        self.assertEqual(len(found), count)
        return found

    def fetch_one(self, s, address, how):
        s.connect(address)
        s.sendall(b"GET")
        got = 0
        try:
            while got < 100:
                got += len(s.recv(200))
            while how in ("server", "abort") and s.recv(16):
                pass
        except ConnectionResetError:
            self.assertEqual(how, "abort")
        if how == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)

    def peers(self, count, v6=False):
        """So many addresses of the client, beside the one it has; also made known to the server."""
        net, via, length = ("fd78::/64", "fd77::2", 128) if v6 else ("10.78.0.0/16", "10.77.0.2", 32)
        out = [f"fd78::{n:x}" if v6 else f"10.78.{n >> 8}.{n & 255}" for n in range(1, 1 + count)]
        self.a.ip("route", "add", net, "via", via)
        self.b.run("ip", "-batch", "-", input="".join(
            f"addr add {a}/{length} dev veth0 {'nodad' if v6 else ''}\n" for a in out).encode())
        return out

    def idle_sockets(self, count):
        """So many connected sockets in the server's namespace that nobody uses; held by processes of their own, for the
        limit of open files."""
        for _ in range(count // 5000):
            holder = subprocess.Popen([*netns.enter(self.a.name), sys.executable, "-c", HOLDER, "2500"],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(holder.communicate)  # the end of its input is its end
            self.assertEqual(holder.stdout.readline(), b"5000\n")

    def named(self, run, cookies):
        """Ends the run: the cookies that have a file. Each of these holds the connection with that cookie and no other."""
        self.assertEqual(run.stop(), 0, run.log)
        out = set()
        for name, file in run.files().items():
            number = int(name.split("/")[-1][:-len(".pcap.gz")].rsplit("_", 1)[1], 16)
            self.assertIn(number, cookies, name)
            self.assertNotIn(number, out, name)
            out.add(number)
            (low, high), = traffic.headers(file.records).keys()
            self.assertIn(cookies[number], (low[1], high[1]), name)
        return out

    def check(self, run, cookies, prefix=None):
        self.assertEqual(self.named(run, cookies), set(cookies), run.log)
        self.assertEqual(run.summary()["drops"], {})
        if prefix:
            self.assertEqual({n.split("/")[-1].rsplit("_", 1)[0] for n in run.files()}, {prefix})

    # ---- short connections, at full speed, beside many idle sockets ----

    def short_connections(self, **how):
        """2,000 of them, a quarter of each kind, beside 20,000 idle sockets; by both ways of the kernel source, and by each
        alone, whose share is printed."""
        self.idle_sockets(20000)
        shares = {}
        for flags in ((), ("-uuid.kernel=destroy",), ("-uuid.kernel=lookup",)):
            run = self.start("-uuidwaitduration=3s", *flags)
            cookies = self.connections(2000, mixed, **how)
            if flags == ("-uuid.kernel=lookup",):
                shares[flags] = len(self.named(run, cookies))
                self.assertLessEqual(set(run.summary()["drops"]), {"no_uuid"})
            else:
                self.check(run, cookies)
                shares[flags] = len(cookies)
        print("named of 2000: " + ", ".join(f"{' '.join(flags) or 'both'} {n}" for flags, n in shares.items()),
              file=sys.stderr)

    def test_ipv4(self):
        self.short_connections(peers=self.peers(500))

    def test_ipv6(self):
        self.short_connections(host="fd77::1", peers=self.peers(500, v6=True))

    def test_dual_stack(self):
        self.short_connections(bind="::", peers=self.peers(500))

    def test_one_end_after_the_other(self):
        """The same, all of one kind, with one shard."""
        peers = self.peers(400)
        for kind in KINDS:
            with self.subTest(kind=kind):
                run = family.Family(self, "-interface=veth0", "-shards=1", "-flowtimeout=2s", namespace=self.a.name).ready()
                self.check(run, self.connections(400, lambda i, kind=kind: kind, peers=peers))

    def test_lookup_alone_names_what_lives(self):
        run = self.start("-uuid.kernel=lookup")
        listener = self.listen("10.77.0.1")
        clients = [self.b.inside(lambda: socket.create_connection(listener.getsockname())) for _ in range(50)]
        cookies = {}
        for client in clients:
            server, peer = listener.accept()
            self.addCleanup(server.close)
            self.addCleanup(client.close)
            cookies[cookie(server)] = peer[1]
        run.until(lambda: run.metric("pcap_demuxer_uuids_total") == 50, "all have their names")
        self.check(run, cookies)

    # ---- which connection of a tuple ----

    def test_aborts_that_cannot_be_told_apart(self):
        """Of connections that one peer has aborted at the same time, none is named wrongly, and all of them count."""
        run = self.start("-uuidwaitduration=2s", "-captureduration=5s")
        hub = run.children()["shardcap-hub"][0]
        os.kill(hub, signal.SIGSTOP)  # it reads late
        self.addCleanup(self.carry_on, hub)
        cookies = self.connections(20, lambda i: "abort")
        os.kill(hub, signal.SIGCONT)
        run.until(lambda: run.metric("shardcap_uuid_ambiguous_total") + run.metric("shardcap_files_total") == 20,
                  "all are named or counted")
        named = self.named(run, cookies)
        self.assertEqual(run.summary()["drops"].get("no_uuid", 0), 8 * (20 - len(named)))

    def test_aborts_outlive_the_hub(self):
        """The hub dies between the end of the sockets and the moment when the shards have told what it needs."""
        peers = self.peers(60)
        run = self.start()
        shards = run.children()["shardcap-shard"]
        for pid in shards:
            os.kill(pid, signal.SIGSTOP)
            self.addCleanup(self.carry_on, pid)
        cookies = self.connections(60, lambda i: "abort", peers=peers)
        run.until(lambda: run.metric("shardcap_destroyed_sockets_total") >= 60, "the hub has read their ends")
        hub = run.children()["shardcap-hub"][0]
        os.kill(hub, signal.SIGKILL)
        run.until(lambda: run.children().get("shardcap-hub", [hub]) != [hub], "another hub")
        for pid in shards:
            os.kill(pid, signal.SIGCONT)
        run.until(lambda: run.metric("pcap_demuxer_uuids_total") == 60, "all have their names")
        self.check(run, cookies)

    def test_a_hub_that_is_killed_again_and_again(self):
        """Every 200 ms, under short connections of all kinds: all of them have their names."""
        peers = self.peers(1000)
        run = self.start()
        stop, killed = threading.Event(), set()

        def kill():
            while not stop.wait(0.2):
                for pid in run.children().get("shardcap-hub", []):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                    killed.add(pid)
        killer = threading.Thread(target=kill)
        killer.start()
        cookies = {}
        while len(killed) < 3:
            cookies.update(self.connections(500, mixed, peers=peers))
        stop.set()
        killer.join()
        run.ready()
        self.check(run, cookies)

    @staticmethod
    def carry_on(pid):
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass

    def test_a_tuple_reused_at_once(self):
        """The client closes by RST and takes the same port again: old news of the first socket comes after the second."""
        run = self.start()
        self.check(run, self.connections(300, lambda i: "reset", client_port=40000))

    def test_loopback(self):
        """Two sockets for each tuple: a file has the name of one of them."""
        listener = self.listen("127.0.0.1")
        run = family.Family(self, "-interface=lo", "-shards=2", "-flowtimeout=2s",
                            f"-filter=port {listener.getsockname()[1]}", namespace=self.a.name).ready()
        ends = {}

        def go():
            for i in range(200):
                with socket.create_connection(listener.getsockname()) as client:
                    server, peer = listener.accept()
                    with server:
                        ends[cookie(server)] = ends[cookie(client)] = peer[1]
                        (server if i % 2 else client).sendall(b"hello")
                        (client if i % 2 else server).recv(16)
        self.a.inside(go)
        named = self.named(run, ends)
        self.assertEqual(sorted(ends[c] for c in named), sorted(set(ends.values())), run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_a_connection_from_before_the_capture(self):
        """First seen in mid-stream: named by its cookie all the same."""
        listener = self.listen("10.77.0.1")
        client = self.b.inside(lambda: socket.create_connection(listener.getsockname()))
        self.addCleanup(client.close)
        server, peer = listener.accept()
        self.addCleanup(server.close)
        run = self.start()
        client.sendall(b"late")
        self.assertEqual(server.recv(16), b"late")
        run.until(lambda: run.metric("shardcap_packets_delivered_total") >= 1, "its packets are seen")
        self.check(run, {cookie(server): peer[1]})

    def test_a_prefix_file(self):
        path = family.workdir(self) / "prefix"
        path.write_text("ndt-4c6fb_1625899199\n")
        run = self.start(f"-uuid-prefix-file={path}")
        self.check(run, self.connections(5, lambda i: "server"), prefix="ndt-4c6fb_1625899199")

    def test_a_connection_that_pauses_beyond_gc(self):
        """It gets its UUID again, and a further file."""
        run = self.start("-flowtimeout=500ms", "-uuidwaitduration=2s")
        listener = self.listen("10.77.0.1")
        client = self.b.inside(lambda: socket.create_connection(listener.getsockname()))
        self.addCleanup(client.close)
        server, peer = listener.accept()
        self.addCleanup(server.close)
        for files in range(3):
            run.until(lambda: run.metric("shardcap_files_total") == files and run.metric("shardcap_flows") == 0 if files
                      else True, "it is quiet, and has its file")
            client.sendall(b"again")
            self.assertEqual(server.recv(16), b"again")
            run.until(lambda: run.metric("shardcap_files_total") == files + 1, "a file for it")
        self.assertEqual(run.stop(), 0, run.log)
        name = f"{cookie(server):016X}"
        self.assertEqual(sorted(n.rsplit("_", 1)[1] for n in run.files()),
                         [f"{name}.1.pcap.gz", f"{name}.2.pcap.gz", f"{name}.pcap.gz"])
        self.assertEqual(run.summary()["drops"], {})

    # ---- what may be missing ----

    def test_without_sock_diag(self):
        """The kernel has no NETLINK_SOCK_DIAG: an error at the start that names the choices."""
        for part in ("destroy", "lookup"):
            with self.subTest(part=part):
                work = family.workdir(self)
                status, _, err = family.run("-interface=lo", f"-uuid.kernel={part}", f"-datadir={work}/data",
                                            f"-rundir={work}/run", "-prometheusx.listen-address=",
                                            wrapper=nosockdiag.WRAPPER)
                self.assertEqual(status, 78, err)
                self.assertRegex(err, r"-uuid\.source: the kernel .*NETLINK_SOCK_DIAG.*choose eventsocket, hash or none")
        run = family.Family(self, "-interface=lo", "-uuid.source=hash", wrapper=nosockdiag.WRAPPER,
                            namespace=self.a.name).ready()
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_feed_that_overruns(self):
        """More sockets end than its buffer holds while the hub is stopped: counted, and what lives is named by lookup. The
        buffer is as small as one without CAP_NET_ADMIN gets it."""
        run = self.start(wrapper=("setpriv", "--bounding-set=-net_admin"))
        listener = self.listen("10.77.0.1")
        hub = run.children()["shardcap-hub"][0]
        os.kill(hub, signal.SIGSTOP)
        self.addCleanup(self.carry_on, hub)
        self.overrun()
        client = self.b.inside(lambda: socket.create_connection(listener.getsockname()))
        self.addCleanup(client.close)
        server, peer = listener.accept()
        self.addCleanup(server.close)
        client.sendall(b"x")
        os.kill(hub, signal.SIGCONT)
        run.until(lambda: run.metric("shardcap_destroyfeed_overruns_total") >= 1, "the overrun is counted")
        run.until(lambda: run.metric("pcap_demuxer_uuids_total") >= 1, "the living connection has its name")
        self.assertTrue(run.said("feed of destroyed sockets overran"))
        self.check(run, {cookie(server): peer[1]})

    def overrun(self):
        """Ends sockets on loopback, which is not captured, until the kernel has dropped news of them."""
        listener = self.listen("127.0.0.1")

        def dropped():
            with open("/proc/thread-self/net/netlink") as table:
                rows = [line.split() for line in table][1:]
            return any(int(row[8]) > 0 for row in rows if row[1] == "4")  # NETLINK_SOCK_DIAG; the column Drops

        def go():
            for _ in range(100):
                for _ in range(1000):
                    client = socket.create_connection(listener.getsockname())
                    server, _ = listener.accept()
                    for s in (client, server):
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
                        s.close()
                if dropped():
                    return
            self.fail("100,000 connections did not fill the buffer")
        self.a.inside(go)

    # ---- the same names as tcp-info ----

    def test_the_same_names_as_tcpinfo(self):
        """The real tcp-info beside us, with the same prefix file: both say the same of the same socket."""
        program = shutil.which("tcp-info")
        if not program:
            self.skipTest("tcp-info is not installed")
        work = family.workdir(self)
        prefix = work / "prefix"
        prefix.write_text("ndt-4c6fb_1625899199\n")
        sock = work / "events.sock"
        process = subprocess.Popen([*netns.enter(self.a.name), program, f"-tcpinfo.eventsocket={sock}",
                                    f"-uuid-prefix-file={prefix}", f"-output={work}", "-prometheusx.listen-address=127.0.0.1:0"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        family.until(sock.exists, "tcp-info serves events")
        theirs = eventclient.EventClient(self, sock)
        run = self.start(f"-uuid-prefix-file={prefix}")
        listener = self.listen("10.77.0.1")
        client = self.b.inside(lambda: socket.create_connection(listener.getsockname()))
        self.addCleanup(client.close)
        server, peer = listener.accept()
        self.addCleanup(server.close)
        client.sendall(b"x")
        told = family.until(lambda: theirs.opened(peer[1]), "tcp-info tells of the connection")
        self.check(run, {cookie(server): peer[1]}, prefix="ndt-4c6fb_1625899199")
        self.assertEqual([n.split("/")[-1] for n in run.files()], [f"{told}.pcap.gz"])


if __name__ == "__main__":
    unittest.main()
