# SPDX-License-Identifier: Apache-2.0
"""Public captures, most of them hostile: for every readable file, what is saved per flow is what tshark lists as packets
with a whole TCP header. Each file whose answer differs on purpose is listed by name with its reason.

The captures are not part of this project: CORPORA names their folder, else ../shared/data/corpora beside the tree.
"""
import collections
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import family
import need
import strictpcap

CORPORA = pathlib.Path(os.environ.get("CORPORA") or pathlib.Path(__file__).resolve().parents[3] / "shared/data/corpora")

# name -> why its packets differ from tshark's list
EXCEPTIONS = {
    # tshark names a header length here that the datagram, or what was captured of it, does not hold.
    "pcapplusplus/tcp-malformed.pcap": "two TCP headers end behind their datagrams",
    "tcpdump/beep-oobr.pcap": "a TCP header ends behind its datagram",
    "tcpdump/heapoverflow-tcp_print.pcap": "a TCP header ends behind its datagram",
    "tcpdump/mptcp-dss-oobr.pcap": "a TCP header ends behind its datagram",
    "tcpdump/tcp-auth-heapoverflow.pcap": "a TCP header ends behind its datagram",
    # Saved here, and not seen as TCP, or shown with another time, by tshark.
    "tcpdump/bigtcp-ipv6.pcap": "IPv6 payload length 0 without a jumbo option (big TCP): tshark sees no TCP in it",
    "tcpdump/timestamp_invalid_nano.pcap": "a fraction of more than a second: the readers carry it over differently",
}

# Layers of tshark that may stand before the one IP header that carries TCP.
LINK = {"eth", "ethertype", "vlan", "ieee8021ad", "sll", "raw", "null", "ppp", "pppoes", "llc", "mpls", "loop", "frame",
        "pflog", "chdlc"}
IP = {"ip", "ipv6"}
EXTENSIONS = {"ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "ah", "data"}

FIELDS = ["frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols", "tcp.srcport", "tcp.dstport", "ip.src",
          "ip.dst", "ipv6.src", "ipv6.dst", "tcp.hdr_len", "ip.frag_offset", "ipv6.fraghdr.offset"]


def tshark(path):
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t",
               "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.analyze_sequence_numbers:FALSE", "-n", "-Y", "tcp", *[w for f in FIELDS for w in ("-e", f)]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return [dict(zip(FIELDS, line.split("\t"))) for line in done.stdout.splitlines()]


def wanted(row):
    """Is it TCP on the one and only IP header, with its header whole?"""
    layers = row["frame.protocols"].split(":")
    before = layers[:layers.index("tcp")]
    if sum(name in IP for name in before) != 1 or not set(before) <= LINK | IP | EXTENSIONS:
        return False
    return bool(row["tcp.hdr_len"]) and int(row["tcp.hdr_len"]) >= 20 and row["ip.frag_offset"] in ("", "0") and \
        row["ipv6.fraghdr.offset"] in ("", "0")


def flows_of(rows):
    """{flow: Counter of (ts, wire length)}"""
    flows = {}
    for row in filter(wanted, rows):
        sec, _, frac = row["frame.time_epoch"].partition(".")
        ts = int(sec) * 10**9 + int(frac.ljust(9, "0"))
        ends = sorted([(row["ip.src"] or row["ipv6.src"], int(row["tcp.srcport"])),
                       (row["ip.dst"] or row["ipv6.dst"], int(row["tcp.dstport"]))])
        flows.setdefault(tuple(ends), collections.Counter())[(ts, int(row["frame.len"]))] += 1
    return flows


def readable(path):
    """Does tcpdump get to the end of it?"""
    done = subprocess.run(["tcpdump", "-r", str(path), "-w", "/dev/null"], capture_output=True, text=True, timeout=60,
                          check=False)
    return done.returncode == 0


def difference(path, test):
    """None, or how shardcap and tshark differ about one file."""
    with tempfile.TemporaryDirectory(prefix="shardcap-test-") as work:
        work = pathlib.Path(work)
        work.chmod(0o755)  # the shards' user passes it on the way to the sockets
        status, _, err = family.run("-read", path, f"-datadir={work}/data", f"-rundir={work}/run",
                                    f"-summary={work}/summary.json", "-uuid.source=hash", "-shards=1",
                                    "-maxheadersize=65535", "-flowtimeout=800000h", "-captureduration=800000h",
                                    "-syncinterval=0", "-maxheap=64MB", "-ringsize=1MB")
        last = err.strip().splitlines()[-1:] or [""]
        if status == 1 and not readable(path):
            return None
        if status == 1 and re.search(r"link type is not known", last[0]):
            return None  # refused by name
        if status != 0:
            return f"exit {status}: {last[0]}"
        summary = json.loads((work / "summary.json").read_text())
        if summary["packets"]["delivered"] != summary["packets"]["saved"] + sum(summary["drops"].values()):
            return f"the counters do not balance: {summary}"
        found = strictpcap.tree(work / "data")
        if family.SANITIZED:  # what is saved does not depend on the build: here it only has to be well-formed
            return None
        left = flows_of(tshark(path))
        for name, saved in found.items():
            rows = collections.Counter((r.ts, r.wire_len) for r in saved.records)
            l4 = saved.snaplen - 60
            ports = sorted(struct.unpack_from(">HH", saved.records[0].data, l4))
            fits = [key for key, flow in left.items() if sorted((key[0][1], key[1][1])) == ports and not rows - flow]
            if not fits:
                return f"{name} (ports {ports}, {sum(rows.values())} packets) is no flow of tshark's"
            left[fits[0]] -= rows
        rest = {key: sum(flow.values()) for key, flow in left.items() if flow}
        if rest:
            return f"not saved: {rest}, drops {summary['drops']}"
    return None


class Corpora(unittest.TestCase):
    timeout = 1500

    def test_every_file(self):
        if not CORPORA.is_dir():
            self.skipTest("the public captures are not here (CORPORA names their folder)")
        need.need("tshark", "tcpdump")
        files = sorted(p for p in CORPORA.rglob("*") if p.is_file() and p.suffix not in (".md", ".txt"))
        self.assertGreater(len(files), 100)
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(files, pool.map(lambda p: difference(p, self), files)))
        wrong = {f"{p.parent.name}/{p.name}": text for p, text in found.items() if text is not None}
        self.assertEqual({n: t for n, t in wrong.items() if n not in EXCEPTIONS}, {})
        if not family.SANITIZED:
            self.assertEqual([n for n in EXCEPTIONS if n not in wrong], [], "exceptions that are none any more")


if __name__ == "__main__":
    unittest.main()
