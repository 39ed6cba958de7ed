# SPDX-License-Identifier: Apache-2.0
"""`shardcapctl find`, `show`, `cat` on files that shardcap wrote and on crafted ones, judged by tshark."""
import collections
import datetime
import gzip
import ipaddress
import json
import os
import re
import resource
import struct
import subprocess
import types
import unittest
import xml.etree.ElementTree as ElementTree

import family
import need
import pcapgen
import png
import strictpcap

MS = 1_000_000
CLIENT, SERVER = ("192.0.2.1", 40000), ("198.51.100.2", 443)


def ctl(*args, **how):
    return family.run(*args, program="shardcapctl", **how)


class Tcp:
    """A connection whose sequence numbers, acknowledgements and timestamps are true."""

    def __init__(self, client=CLIENT, server=SERVER, start=pcapgen.START, isn=(77, 2**32 - 3500)):
        self.ends, self.start, self.packets = (client, server), start, []
        self.isn = isn  # the server's number wraps inside its fourth segment

    def send(self, ms, side, flags, seq=0, size=0, ack=None, tsval=1, tsecr=0, options=None):
        """seq and ack are relative: the SYN is 0, the first byte 1."""
        src, dst = self.ends[side], self.ends[1 - side]
        if options is None:
            options = b"\x01\x01" + struct.pack(">BBII", 8, 10, tsval, tsecr)
        number = (self.isn[side] + seq) & 0xFFFFFFFF
        answer = 0 if ack is None else (self.isn[1 - side] + ack) & 0xFFFFFFFF
        tcp = struct.pack(">HHIIBBHHH", src[1], dst[1], number, answer, (20 + len(options)) << 2, flags, 8192, 0, 0)
        addresses = [ipaddress.ip_address(e[0]).packed for e in (src, dst)]
        if len(addresses[0]) == 4:
            total = 20 + len(tcp) + len(options) + size
            ip = struct.pack(">BBHHHBBH", 0x45, 0, total, 0, 0x4000, 64, 6, 0) + b"".join(addresses)
            kind = 0x0800
        else:
            ip = struct.pack(">IHBB", 0x60000000, len(tcp) + len(options) + size, 6, 64) + b"".join(addresses)
            kind = 0x86DD
        data = pcapgen.link_header(pcapgen.ETHERNET, kind) + ip + tcp + options + pcapgen.canary(size)
        self.packets.append(pcapgen.Packet(self.start + int(ms * MS), data, len(data), 0, 0, 0, 0, 0, pcapgen.ETHERNET))

    def conversation(self):
        """A request, ten segments of 1,000 bytes of which the fourth comes twice and the seventh after the eighth."""
        S, A, F = pcapgen.SYN, pcapgen.ACK, pcapgen.FIN
        self.send(0, 0, S, tsval=100)
        self.send(20, 1, S | A, ack=1, tsval=500, tsecr=100)
        self.send(21, 0, A, 1, ack=1, tsval=120, tsecr=500)
        self.send(22, 0, A, 1, 600, 1, 121, 500)
        self.send(44, 1, A, 1, ack=601, tsval=523, tsecr=121)
        order = [0, 1, 2, 3, 3, 4, 5, 7, 6, 8, 9]
        for i, segment in enumerate(order):
            self.send(50 + 20 * i, 1, A, 1 + 1000 * segment, 1000, 601, 530 + i, 121)
        self.send(290, 0, A, 601, ack=10001, tsval=400, tsecr=530 + len(order) - 1)
        self.send(300, 0, A | F, 601, ack=10001, tsval=410, tsecr=540)
        self.send(325, 1, A | F, 10001, ack=602, tsval=800, tsecr=410)
        self.send(326, 0, A, 602, ack=10002, tsval=436, tsecr=800)
        return self.packets

    def write(self, path):
        return pcapgen.write(path, pcapgen.pcap(self.packets))


def tshark(path, *fields, where=""):
    need.need("tshark")
    command = ["tshark", "-n", "-o", "tcp.desegment_tcp_streams:FALSE", "-r", str(path), "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    out = subprocess.run([*command, *(["-Y", where] if where else [])], capture_output=True, text=True, check=True,
                         timeout=60).stdout
    return [line.split("\t") for line in out.splitlines()]


class Show(unittest.TestCase):
    def setUp(self):
        self.work = family.workdir(self)

    def show(self, *args):
        code, out, err = ctl("show", "-json", *args)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_numbers(self):
        tcp = Tcp()
        tcp.conversation()
        got = self.show(tcp.write(self.work / "a.pcap"))
        self.assertEqual((got["client"], got["server"]), ("192.0.2.1:40000", "198.51.100.2:443"))
        self.assertEqual((got["packets"], got["unread"], got["others"]), (len(tcp.packets), 0, 0))
        self.assertEqual(got["duration_ns"], 326 * MS)
        self.assertEqual((got["syn_to_synack_ns"], got["synack_to_ack_ns"]), (20 * MS, 1 * MS))
        client, server = got["from_client"], got["from_server"]
        self.assertEqual((client["payload"], server["payload"]), (600, 11000))
        self.assertEqual((client["retransmissions"], server["retransmissions"]), (0, 1))
        self.assertEqual((client["out_of_order"], server["out_of_order"]), (0, 1))
        self.assertEqual([client[k] for k in ("syn", "fin", "rst")], [1, 1, 0])
        # To the server and back: SYN 20, request 22, FIN 25 ms. To the client: SYN-ACK 1, last segment 40, FIN 1 ms.
        self.assertEqual(client["rtt"], {"samples": 3, "min_ns": 20 * MS, "mean_ns": 67 * MS // 3, "max_ns": 25 * MS})
        self.assertEqual(server["rtt"], {"samples": 3, "min_ns": 1 * MS, "mean_ns": 42 * MS // 3, "max_ns": 40 * MS})

    def test_as_tshark_says(self):
        tcp = Tcp()
        tcp.conversation()
        path = tcp.write(self.work / "a.pcap")
        got = self.show(path)
        rows = tshark(path, "ip.src", "frame.len", "tcp.len")
        for side, (address, _) in (("from_client", CLIENT), ("from_server", SERVER)):
            mine = [row for row in rows if row[0] == address]
            self.assertEqual((got[side]["packets"], got[side]["bytes"], got[side]["payload"]),
                             (len(mine), sum(int(r[1]) for r in mine), sum(int(r[2]) for r in mine)))
        again = tshark(path, "frame.number", where="tcp.analysis.retransmission or tcp.analysis.fast_retransmission or "
                                                   "tcp.analysis.spurious_retransmission")
        late = tshark(path, "frame.number", where="tcp.analysis.out_of_order")
        self.assertEqual(len(again), got["from_server"]["retransmissions"] + got["from_server"]["out_of_order"] - len(late))
        (rtt,) = {row[0] for row in tshark(path, "tcp.analysis.initial_rtt") if row[0]}
        self.assertEqual(round(float(rtt) * 1e9), got["syn_to_synack_ns"] + got["synack_to_ack_ns"])

    def test_file_of_ours_by_its_uuid(self):
        tcp = Tcp(client=("2001:db8::1", 40000), server=("2001:db8::2", 443))
        tcp.conversation()
        path = tcp.write(self.work / "a.pcap")
        f = family.read_savefile(self, path, work=self.work)
        (name,) = f.files()
        uuid = name.split("/")[-1].removesuffix(".pcap.gz")
        raw, ours = self.show(path), self.show(uuid, "-datadir", f.datadir)
        self.assertEqual((ours.pop("name"), raw.pop("name")), (uuid, path))
        self.assertEqual(ours["client"], "[2001:db8::1]:40000")
        self.assertEqual(ours, raw)
        code, out, err = ctl("show", uuid, env={"DATADIR": str(f.datadir)})
        self.assertEqual(code, 0, err)
        for text in ("client        [2001:db8::1]:40000\n", "duration      0.326000 s\n", "rtt to server     min 20.000  mean "
                     "22.333  max 25.000 ms  (3 samples)\n"):
            self.assertIn(text, out)
        self.assertRegex(out, r"(?m)^server +14 +\d+ +11000 +1 +1 +SYN 1 FIN 1 RST 0$")

    def test_stream_that_was_under_way(self):
        tcp = Tcp()
        packets = tcp.conversation()
        tcp.packets = packets[5:]
        got = self.show(tcp.write(self.work / "a.pcap"))
        self.assertIsNone(got["syn_to_synack_ns"])
        self.assertEqual((got["from_client" if got["client"].startswith("198") else "from_server"]["retransmissions"]), 1)

    def test_picture(self):
        tcp = Tcp()
        tcp.conversation()
        self.show(tcp.write(self.work / "a<b>.pcap"), "-o", self.work / "a.svg")
        root = ElementTree.parse(self.work / "a.svg").getroot()
        self.assertEqual(root.tag, "{http://www.w3.org/2000/svg}svg")
        strokes = collections.Counter()
        for path in root.iter("{http://www.w3.org/2000/svg}path"):
            strokes[path.get("class")] += path.get("d").count("M")
        # SYN, request, FIN; SYN-ACK, nine segments in order, FIN; both ends' acknowledgements as one line each.
        self.assertEqual(strokes, {"data": 3 + 1 + 9 + 1, "again": 1, "late": 1, "ack": 2})
        texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("192.0.2.1:40000 to 198.51.100.2:443", texts)
        self.assertEqual(texts[0], "a?b?.pcap")
        code, _, err = ctl("show", tcp.write(self.work / "b.pcap"), "-o", "/nonexistent/x.svg")
        self.assertEqual(code, 1)
        self.assertIn("/nonexistent/x.svg", err)

    def test_picture_of_pixels_shows_what_the_other_one_does(self):
        tcp = Tcp()
        tcp.conversation()
        path = tcp.write(self.work / "a.pcap")
        for name in ("a.svg", "a.png", "other.PNG"):
            self.show(path, "-o", self.work / name)
        self.assertEqual((self.work / "a.png").read_bytes(), (self.work / "other.PNG").read_bytes())
        width, height, rows = png.read(self.work / "a.png")
        root = ElementTree.parse(self.work / "a.svg").getroot()
        self.assertEqual([2 * int(v) for v in root.get("viewBox").split()], [0, 0, width, height])
        colours = dict(re.findall(r"\.(data|again|late|ack) \{ stroke: (#\w+);", (self.work / "a.svg").read_text()))
        looked = 0
        for path in root.iter("{http://www.w3.org/2000/svg}path"):
            # A stroke goes up from the line it stands on; another one may be drawn over its ends.
            for x, bottom, top in re.findall(r"M(\d+) (\d+)V(\d+)", path.get("d")):
                self.assertEqual(rows[int(bottom) + int(top)][2 * int(x)], colours[path.get("class")], path.get("d"))
                looked += 1
        self.assertEqual(looked, 14 + 1 + 1)
        seen = collections.Counter(colour for row in rows for colour in row)
        self.assertEqual(set(seen), {"#ffffff", "#222222", "#999999", *colours.values()})
        self.assertGreater(seen["#ffffff"], width * height * 9 // 10)
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            x, y = (2 * int(text.get(at)) for at in ("x", "y"))
            around = [row[max(x - 60, 0):x + 60] for row in rows[y - 21:y]]
            self.assertIn("#222222", {colour for row in around for colour in row}, text.text)

    def test_what_is_wrong(self):
        tcp = Tcp()
        tcp.conversation()
        for suffix in (".png", ".svg"):
            full = self.work / f"full{suffix}"
            full.symlink_to("/dev/full")
            for name, why in (("/nonexistent/x" + suffix, "No such file or directory"), (full, "No space left on device")):
                code, _, err = ctl("show", tcp.write(self.work / "b.pcap"), "-o", name)
                self.assertEqual((code, err), (1, f"shardcapctl: cannot write {name}: {why}\n"))
        cut = pcapgen.write(self.work / "cut.pcap.gz", gzip.compress(pcapgen.pcap(tcp.packets))[:-9])
        code, out, err = ctl("show", cut)
        self.assertEqual(code, 1)
        self.assertIn("client        192.0.2.1:40000", out)
        self.assertIn(cut, err)
        empty = pcapgen.write(self.work / "empty.pcap", pcapgen.pcap([], linktype=pcapgen.ETHERNET))
        self.assertEqual(ctl("show", empty)[0], 1)
        code, _, err = ctl("show", "no_such_uuid", "-datadir", self.work)
        self.assertEqual(code, 1)
        self.assertIn("no_such_uuid", err)
        self.assertEqual(ctl("show", "x", "-datadir", "/nonexistent")[0], 1)
        for args in (("show",), ("show", "a", "b"), ("find", "a", "b"), ("cat",)):
            self.assertEqual(ctl(*args)[0], 2, args)


class Tree(unittest.TestCase):
    """Forty flows, two at a time every other hour, written by shardcap."""

    @classmethod
    def setUpClass(cls):
        cls.work = family.workdir(types.SimpleNamespace(addCleanup=cls.addClassCleanup))
        cls.flows = [pcapgen.Flow(i, v6=i % 4 == 3, dport=443 if i % 2 else 80) for i in range(40)]
        starts = [pcapgen.START + f.ident // 2 * 7200 * 10**9 + f.ident % 2 * 1_500_000 for f in cls.flows]
        cls.packets = {f.ident: f.conversation(start) for f, start in zip(cls.flows, starts)}
        path = pcapgen.write(cls.work / "in.pcap", pcapgen.pcap(pcapgen.interleave(*cls.packets.values())))
        (cls.work / "events.jsonl").write_text("".join(f.event() for f in cls.flows))
        cls.datadir = cls.work / "data"
        status, _, err = family.run("-read", path, f"-datadir={cls.datadir}", f"-rundir={cls.work}/run",
                                    f"-uuid.events={cls.work}/events.jsonl")
        assert status == 0, err

    def find(self, *args, status=0):
        code, out, err = ctl("find", *args, self.datadir)
        self.assertEqual(code, status, err)
        return {line.split("/")[-1].removesuffix(".pcap.gz") for line in out.splitlines()}

    def uuids(self, wanted):
        return {f.uuid for f in self.flows if wanted(f)}

    def test_all_and_by_end(self):
        self.assertEqual(self.find(), self.uuids(lambda f: True))
        self.assertEqual(self.find("-port=80"), self.uuids(lambda f: f.dport == 80))
        one = self.flows[5]
        self.assertEqual(self.find("-host", one.client, "-port", one.sport), {one.uuid})
        self.assertEqual(self.find("-host", one.client, "-port", 80, status=1), set())  # not the same end
        self.assertEqual(self.find("-host", "192.0.2.10"), self.uuids(lambda f: not f.v6))
        self.assertEqual(self.find("-host", "192.0.2.0/24"), self.uuids(lambda f: not f.v6))
        self.assertEqual(self.find("-host", "192.0.2.8/29"), self.uuids(lambda f: not f.v6))
        self.assertEqual(self.find("-host", "192.0.2.0/29", status=1), set())
        self.assertEqual(self.find("-host", "::ffff:192.0.2.10"), self.uuids(lambda f: not f.v6))
        self.assertEqual(self.find("-host", "2001:db8:ffff::/48"), self.uuids(lambda f: f.v6))
        self.assertEqual(self.find("-host", "0.0.0.0/0"), self.uuids(lambda f: not f.v6))

    def test_by_time(self):
        def text(ns):
            return datetime.datetime.fromtimestamp(ns // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        first = {f.uuid: self.packets[f.ident][0].ts for f in self.flows}
        last = {f.uuid: self.packets[f.ident][-1].ts for f in self.flows}
        edge = first[self.flows[20].uuid] // 10**9 * 10**9
        self.assertEqual(self.find("-since", text(edge)), {u for u in last if last[u] >= edge})
        self.assertEqual(self.find("-until", text(edge)), {u for u in first if first[u] <= edge})
        self.assertEqual(self.find("-since", text(edge), "-until", text(edge + 2 * 3600 * 10**9)),
                         {u for u in first if last[u] >= edge and first[u] <= edge + 2 * 3600 * 10**9})
        day = text(edge)[:10]
        midnight = int(datetime.datetime.fromisoformat(day + "T00:00:00+00:00").timestamp()) * 10**9
        self.assertEqual(self.find("-until", day), {u for u in first if first[u] <= midnight})
        self.assertEqual(self.find("-since", "1h", status=1), set())
        self.assertEqual(self.find("-since", "99999d"), set(first))
        for args in (("-since", "yesterday"), ("-until", "5x"), ("-host", "192.0.2.0/33"), ("-host", "x"), ("-port", "65536")):
            self.find(*args, status=2)

    def test_forms(self):
        code, out, _ = ctl("find", "-json", "-port=80", self.datadir)
        self.assertEqual(code, 0)
        have = {o["uuid"]: o for o in map(json.loads, out.splitlines())}
        f = self.flows[2]
        self.assertEqual({k: have[f.uuid][k] for k in ("client", "server", "packets")},
                         {"client": f"{f.client}:{f.sport}", "server": f"{f.server}:80", "packets": len(self.packets[2])})
        code, out, _ = ctl("find", "-long", "-host", f.client, "-port", f.sport, self.datadir)
        self.assertEqual(out.rstrip("\n").split("\t")[1:3], [f"{f.client}:{f.sport}", f"{f.server}:80"])
        code, out, _ = ctl("find", "-port=80", env={"DATADIR": str(self.datadir)})
        self.assertEqual(len(out.splitlines()), 20)

    def test_a_bad_file_is_told_and_the_rest_found(self):
        f = self.flows[0]
        day = next(p.parent for p in self.datadir.rglob(f"{f.uuid}.pcap.gz"))
        bad = day / "zz_bad.pcap.gz"
        bad.write_bytes(b"\x1f\x8bnothing")
        self.addCleanup(bad.unlink)
        code, out, err = ctl("find", self.datadir)
        self.assertEqual((code, len(out.splitlines())), (1, 40))
        self.assertIn("zz_bad", err)

    def test_a_directory_that_may_not_be_read_is_told(self):
        """Not as root, who may read all."""
        days = sorted({p.parent for p in self.datadir.rglob("*.pcap.gz")})
        for path in (self.work, *self.work.rglob("*")):
            self.addCleanup(path.chmod, path.stat().st_mode & 0o7777)
            path.chmod(0o755 if path.is_dir() else 0o644)
        hidden = list(days[1].glob("*.pcap.gz"))
        days[1].chmod(0)
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run([str(family.BIN / "shardcapctl"), "find", str(self.datadir)], capture_output=True,
                              text=True, timeout=60, env=family.clean_env(), check=False, **user)
        self.assertEqual((done.returncode, len(done.stdout.splitlines())), (1, 40 - len(hidden)), done.stderr)
        self.assertIn(f"cannot read {days[1]}: Permission denied", done.stderr)

    def cat(self, *args):
        done = subprocess.run([str(family.BIN / "shardcapctl"), "cat", "-datadir", str(self.datadir), *map(str, args)],
                              capture_output=True, timeout=60, env=family.clean_env(), check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def test_cat_one_is_the_file_itself(self):
        f = self.flows[7]
        (path,) = self.datadir.rglob(f"{f.uuid}.pcap.gz")
        for word in (f.uuid, path):
            self.assertEqual(self.cat(word), (0, gzip.decompress(path.read_bytes()), ""))
        self.assertEqual(self.cat(f.uuid, f.uuid, f.uuid), self.cat(f.uuid))

    def test_a_directory_that_is_no_tree_of_ours_is_told(self):
        code, out, err = ctl("find", self.datadir.parent)
        self.assertEqual((code, out), (1, ""))
        self.assertIn(f"no files of shardcap below {self.datadir.parent}", err)

    def test_cat_reads_a_pipe_once(self):
        (path,) = self.datadir.rglob(f"{self.flows[7].uuid}.pcap.gz")
        pipe = self.work / "pipe"
        os.mkfifo(pipe)
        self.addCleanup(pipe.unlink)
        feeder = subprocess.Popen(["sh", "-c", 'cat "$0" >"$1"', str(path), str(pipe)])
        self.addCleanup(feeder.kill)
        self.assertEqual(self.cat(pipe), (0, gzip.decompress(path.read_bytes()), ""))
        feeder.wait(timeout=60)

    def test_cat_merges_in_the_order_of_time(self):
        # Named from the last to the first.
        code, out, err = self.cat(*[f.uuid for f in reversed(self.flows)])
        self.assertEqual((code, err), (0, ""))
        want = [r for path in self.datadir.rglob("*.pcap.gz") for r in strictpcap.read(path).records]
        got = strictpcap.parse(out).records
        self.assertEqual([r.ts for r in got], sorted(r.ts for r in want))
        self.assertEqual(sorted(got), sorted(want))

    def test_cat_opens_only_what_overlaps(self):
        """Forty files, two at a time, with room for fewer descriptors."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
        done = subprocess.run([str(family.BIN / "shardcapctl"), "cat", "-datadir", str(self.datadir), "-",
                               *[f.uuid for f in self.flows[1:]]], capture_output=True, timeout=60, preexec_fn=limit,
                              input=self.cat(self.flows[0].uuid)[1], env=family.clean_env(), check=False)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(len(strictpcap.parse(done.stdout).records), sum(map(len, self.packets.values())))

    def test_names_that_are_not_ours_break_no_line(self):
        name = 'a"b\n\x1b[31m.pcap'
        day = self.work / "others/2023/11/14"
        day.mkdir(parents=True)
        pcapgen.write(day / name, pcapgen.pcap(pcapgen.Flow(1).conversation(pcapgen.START)))
        _, out, err = ctl("find", "-json", self.work / "others")
        told = json.loads(out)
        self.assertEqual((told["path"], told["uuid"]), (str(day / name), name.removesuffix(".pcap")), err)
        _, out, _ = ctl("find", "-long", self.work / "others")
        self.assertEqual(out.splitlines()[0].split("\t")[0], f'{day}/a"b??[31m.pcap')
        self.assertEqual(ctl("find", self.work / "others")[1], f"{day / name}\n")

    def test_cat_of_more_than_may_be_open(self):
        """The soft limit is no limit; beyond the hard one, what is left out is said once."""
        paths = [pcapgen.write(self.work / f"{i}.pcap", pcapgen.pcap(pcapgen.Flow(i).conversation(pcapgen.START)))
                 for i in range(1, 41)]
        packets = 40 * len(pcapgen.Flow(1).conversation(pcapgen.START))
        for hard, code in ((60, 0), (20, 1)):
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (10, hard))
            done = subprocess.run([str(family.BIN / "shardcapctl"), "cat", *paths], capture_output=True, timeout=60,
                                  preexec_fn=limit, env=family.clean_env(), check=False)
            self.assertEqual((done.returncode, done.stderr.count(b"\n")), (code, code), done.stderr)
            self.assertEqual(b"raise ulimit -n" in done.stderr, code == 1)
            self.assertEqual(len(strictpcap.parse(done.stdout).records) == packets, code == 0)

    def test_cat_into_tshark(self):
        need.need("tshark")
        _, out, _ = self.cat(self.flows[1].uuid, self.flows[2].uuid)
        done = subprocess.run(["tshark", "-n", "-r", "-", "-T", "fields", "-e", "tcp.stream"], input=out,
                              capture_output=True, timeout=60, check=True)
        streams = collections.Counter(done.stdout.decode().split())
        self.assertEqual(streams, {"0": len(self.packets[1]), "1": len(self.packets[2])})

    def test_cat_what_is_wrong(self):
        code, out, err = self.cat(self.flows[1].uuid, "no_such")
        self.assertEqual((code, out), (1, b""))
        self.assertIn("no_such", err)
        raw = pcapgen.Flow(1, linktype=pcapgen.RAW)
        other = pcapgen.write(self.work / "raw.pcap", pcapgen.pcap(raw.conversation(pcapgen.START)))
        code, out, err = self.cat(self.flows[1].uuid, other)
        self.assertEqual((code, out), (1, b""))
        self.assertIn("link type", err)


if __name__ == "__main__":
    unittest.main()
