# SPDX-License-Identifier: Apache-2.0
"""Interfaces that appear, vanish, change addresses or flap while shardcap runs: captured by the same dispatcher, without a
restart, and told by the metrics and on the page; every packet delivered is in a file."""
import unittest

import family
import netns
import traffic
from need import need

IN_USER_NAMESPACE = True


class Changes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("netns")

    def setUp(self):
        self.a, self.b = netns.pair(self)
        self.run = family.Family(self, "-uuid.source=kernel,hash", "-flowtimeout=1s", namespace=self.a.name).ready()
        self.server = traffic.Server(self, self.a)
        self.dispatcher = self.run.children()["shardcap-dispatcher"]

    def fetch(self, address="10.77.0.1", client=None):
        """One connection; waits for its file."""
        before = self.run.metric("shardcap_files_total")
        traffic.fetch(client or self.b, address, self.server.port, 3000)
        self.run.until(lambda: self.run.metric("shardcap_files_total") == before + 1, "a file")

    def fetch_until_saved(self, address="10.77.0.1"):
        """What goes on takes a moment to be noticed: a connection that was too early has no file."""
        before = self.run.metric("shardcap_files_total")

        def saved():
            traffic.fetch(self.b, address, self.server.port, 100)
            self.run.until(lambda: self.run.metric("shardcap_flows") == 0, "rest")
            return self.run.metric("shardcap_files_total") > before
        self.run.until(saved, f"a connection to {address} has a file")

    def up(self, name):
        return self.run.metrics().get(f'shardcap_interface_up{{interface="{name}"}}')

    def end(self):
        self.assertEqual(self.run.children()["shardcap-dispatcher"], self.dispatcher)
        self.assertEqual(self.run.stop(), 0, self.run.log)
        self.assertEqual(self.run.summary()["drops"], {})

    def test_appears_vanishes_and_comes_back(self):
        self.fetch()
        for turn in (1, 2):
            c = netns.Namespace(self)
            netns.join(self.a, c, name_a="later", net=79)
            self.run.until(lambda: self.up("later") == 1, "the new interface is captured")
            self.assertIn("later is captured", self.run.get("/")[1])
            self.fetch("10.79.0.1", c)
            self.a.ip("link", "del", "later")
            self.run.until(lambda: self.up("later") == 0, "its end is noticed")
            self.assertIn("later is gone", self.run.get("/")[1])
            self.assertEqual(self.run.metric("pcap_muxer_interfaces_with_captures"), 1)
            self.fetch()
        self.end()
        self.assertEqual(self.run.summary()["files"], 5)

    def test_flaps(self):
        for _ in range(10):
            self.a.ip("link", "set", "veth0", "down")
            self.a.ip("link", "set", "veth0", "up")
        self.fetch_until_saved()
        self.end()

    def test_down_and_up_with_a_connection_over_it(self):
        self.fetch()
        self.a.ip("link", "set", "veth0", "down")
        self.run.until(lambda: self.up("veth0") == 0, "down is noticed")
        self.a.ip("link", "set", "veth0", "up")
        self.run.until(lambda: self.up("veth0") == 1, "up is noticed")
        self.fetch_until_saved()
        self.end()

    def test_an_address_that_is_added_is_captured(self):
        """The kernel filter names the addresses of this machine: it must follow them."""
        self.fetch()
        self.a.ip("addr", "add", "10.77.9.9/32", "dev", "veth0")
        self.b.ip("route", "add", "10.77.9.9/32", "via", "10.77.0.1")
        self.fetch_until_saved("10.77.9.9")
        self.end()


if __name__ == "__main__":
    unittest.main()
