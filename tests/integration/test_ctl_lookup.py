# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl lookup`: the UUID of a live connection is what SO_COOKIE says, in every form of its addresses."""
import json
import socket
import struct
import unittest

import family
import netns
import need
import traffic

IN_USER_NAMESPACE = True


def cookie(s):
    return struct.unpack("=Q", s.getsockopt(socket.SOL_SOCKET, traffic.SO_COOKIE, 8))[0]


class Lookup(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need.need("netns")

    def setUp(self):
        self.work = family.workdir(self)
        self.prefix = self.work / "prefix"
        self.prefix.write_text("look-up_1\n")
        self.a, self.b = netns.pair(self)

    def connect(self, listen, to, port=0, server=None, client=None):
        """(server's socket, client's socket)"""
        family_of = lambda address: socket.AF_INET6 if ":" in address else socket.AF_INET

        def make(address):
            s = socket.socket(family_of(address), socket.SOCK_STREAM)
            self.addCleanup(s.close)
            return s
        listener = (server or self.a).inside(make, listen)
        if family_of(listen) == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((listen, port))
        listener.listen(1)
        c = (client or self.b).inside(make, to)
        c.settimeout(20)
        c.connect((to, listener.getsockname()[1]))
        s = listener.accept()[0]
        self.addCleanup(s.close)
        return s, c

    def lookup(self, *ends, namespace=None, args=()):
        args = ["-rundir", self.work / "none", "lookup", *args, "-uuid-prefix-file", self.prefix, *ends]
        return family.run(*args, program="shardcapctl", wrapper=netns.enter((namespace or self.a).name))

    def found(self, want, *ends, **how):
        code, out, err = self.lookup(*ends, **how)
        self.assertEqual((code, out, err), (0, f"look-up_1_{want:016X}\n", ""), ends)

    def test_ipv4_in_both_orders_and_from_both_sides(self):
        s, c = self.connect("10.77.0.1", "10.77.0.1")
        server, client = "%s:%d" % s.getsockname(), "%s:%d" % c.getsockname()
        self.found(cookie(s), server, client)
        self.found(cookie(s), client, server)
        self.found(cookie(c), client, server, namespace=self.b)
        code, out, _ = self.lookup(server, client, args=["--json"])
        self.assertEqual((code, json.loads(out)),
                         (0, {"uuid": f"look-up_1_{cookie(s):016X}", "cookie": cookie(s), "closing": False}))
        c.shutdown(socket.SHUT_WR)
        self.assertEqual(s.recv(1), b"")
        code, out, _ = self.lookup(server, client, args=["--json"])
        self.assertTrue(json.loads(out)["closing"])

    def test_ipv6(self):
        s, c = self.connect("fd77::1", "fd77::1")
        ends = ["[%s]:%d" % x[:2] for x in (s.getsockname(), c.getsockname())]
        self.found(cookie(s), *ends)
        self.found(cookie(s), *reversed(ends))

    def test_link_local(self):
        """Their sockets are bound to an interface, which has to be named."""
        for namespace, address in ((self.a, "fe80::77:1"), (self.b, "fe80::77:2")):
            namespace.ip("addr", "add", f"{address}/64", "dev", "veth0", "nodad")
        index = {n: int(n.inside(socket.if_nametoindex, "veth0")) for n in (self.a, self.b)}
        listener = self.a.inside(socket.socket, socket.AF_INET6, socket.SOCK_STREAM)
        self.addCleanup(listener.close)
        listener.bind(("fe80::77:1", 0, 0, index[self.a]))
        listener.listen(1)
        c = self.b.inside(socket.socket, socket.AF_INET6, socket.SOCK_STREAM)
        self.addCleanup(c.close)
        c.settimeout(20)
        c.connect(("fe80::77:1", listener.getsockname()[1], 0, index[self.b]))
        s = listener.accept()[0]
        self.addCleanup(s.close)
        ends = ["[fe80::77:1]:%d" % listener.getsockname()[1], "[%s]:%d" % (c.getsockname()[0].split("%")[0], c.getsockname()[1])]
        self.found(cookie(s), *ends, args=["-interface", "veth0"])
        self.assertEqual(self.lookup(*ends, args=["-interface", "lo"])[0], 1)

    def test_dual_stack(self):
        s, c = self.connect("::", "10.77.0.1")
        port = s.getsockname()[1]
        for form in ("%s:%d", "[::ffff:%s]:%d"):
            self.found(cookie(s), form % ("10.77.0.1", port), form % c.getsockname())

    def test_loopback_has_two_sockets(self):
        s, c = self.connect("127.0.0.1", "127.0.0.1", server=self.a, client=self.a)
        server, client = "%s:%d" % s.getsockname(), "%s:%d" % c.getsockname()
        self.assertNotEqual(cookie(s), cookie(c))
        self.found(cookie(s), server, client)
        self.found(cookie(c), client, server)

    def test_none(self):
        s, c = self.connect("10.77.0.1", "10.77.0.1")
        server = "%s:%d" % s.getsockname()
        for ends in ((server, "10.77.0.2:1"), (server, "10.77.0.9:%d" % c.getsockname()[1]), ("10.9.9.9:1", "10.9.9.8:2")):
            code, out, err = self.lookup(*ends)
            self.assertEqual((code, out), (1, ""), ends)
            self.assertIn("no socket", err)

    def test_what_is_over(self):
        """What the kernel keeps of a socket in TIME_WAIT may have a cookie that the socket never had."""
        s, c = self.connect("10.77.0.1", "10.77.0.1")
        server, client = "%s:%d" % s.getsockname(), "%s:%d" % c.getsockname()
        s.close()
        self.assertEqual(c.recv(1), b"")
        c.close()

        def asked():
            code, out, err = self.lookup(server, client)
            return (code, out) == (1, "") and "is over" in err
        family.until(asked, "it is in TIME_WAIT")

    def test_wrong_usage(self):
        for ends in (("10.77.0.1:1",), ("10.77.0.1", "10.77.0.2:1"), ("fd77::1:1", "[fd77::2]:1"),
                     ("10.77.0.1:1", "[fd77::2]:1"), ("10.77.0.1:99999", "10.77.0.2:1")):
            code, _, err = self.lookup(*ends)
            self.assertEqual(code, 2, ends)
            self.assertTrue(err)
        self.assertEqual(self.lookup("10.77.0.1:1", "10.77.0.2:1", args=["-interface=none0"])[0], 2)

    def test_the_name_that_the_running_shardcap_gives(self):
        f = family.Family(self, "-interface=veth0", "-uuid.source=kernel", "-flowtimeout=1s",
                          f"-uuid-prefix-file={self.prefix}", namespace=self.a.name, work=self.work).ready()
        s, c = self.connect("10.77.0.1", "10.77.0.1")
        code, out, err = family.run("-rundir", f.rundir, "lookup", "%s:%d" % s.getsockname(), "%s:%d" % c.getsockname(),
                                    program="shardcapctl", wrapper=netns.enter(self.a.name))
        self.assertEqual((code, out), (0, f"look-up_1_{cookie(s):016X}\n"), err)
        c.close()
        s.close()
        f.until(lambda: f.files(), "the flow's file")
        self.assertEqual(f.stop(), 0, f.log)
        self.assertEqual([name.split("/")[-1] for name in f.files()], [f"{out.strip()}.pcap.gz"])


if __name__ == "__main__":
    unittest.main()
