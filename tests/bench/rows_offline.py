# SPDX-License-Identifier: Apache-2.0
"""Rows that need no network: the parts alone, and whole runs over savefiles from start to end."""
import gzip
import os
import pathlib
import statistics
import subprocess
import zlib

import measure
from measure import NotMeasured, Row, verdict

FLOWS, PACKETS = 1000, 1000


def parts(m):
    """The stages of a packet's way, from memory."""
    n = m.count(5_000_000)
    copy = m.median(lambda: m.json("bench_memcpy", 4 * n)["ns_per_packet"])
    ring = m.median(lambda: m.json("bench_ring", n)["ns_per_packet"])
    yield Row("-", "bare loop: memcpy of 128 bytes", f"{copy:.1f} ns/packet", values={"ns": copy})
    yield Row("-", "ring hand-over, 2 threads, batches of 64", f"{ring:.1f} ns/packet", "30-45 ns",
              verdict(ring <= 45), values={"ns": ring})
    dispatcher = m.median(lambda: m.json("bench_dispatcher", n)["ns_per_packet"])
    yield Row("-", "dispatcher: parse, key, hash, copy into ring", f"{dispatcher:.1f} ns/packet", "30-45 ns + ring",
              values={"ns": dispatcher})
    runs = [m.json("bench_capture", m.savefile(FLOWS, m.count(PACKETS))) for _ in range(m.runs)]
    bare, ours = (statistics.median(r[name] for r in runs) for name in ("bare_ns_per_packet", "ns_per_packet"))
    yield Row("P7", "dispatcher, libpcap included, against a libpcap callback that only counts (savefile)",
              f"{ours / bare:.2f} x ({ours:.0f} / {bare:.0f} ns)", "<= 2 x", verdict(ours <= 2 * bare),
              "CPU time", {"ns": ours, "bare_ns": bare})


def shard_run(m, *arguments):
    with m.scratch() as scratch:
        return m.json("bench_shard", scratch, *arguments)


def shard(m):
    """The shard's own turns over a filled ring, publishing at the end."""
    n = m.count(1_000_000)
    copy = m.median(lambda: m.json("bench_memcpy", 4 * n)["ns_per_packet"])
    dispatcher = m.median(lambda: m.json("bench_dispatcher", n)["ns_per_packet"])
    pauses = {}
    for codec in ("none", "fast", "small"):  # with savefiles, and so here, auto is fast
        runs = [shard_run(m, n, 1000, codec) for _ in range(m.runs)]
        middle = {name: statistics.median(r[name] for r in runs) for name in runs[0]}
        pauses[codec] = middle["pause_us"]
        yield Row("-", f"shard alone, -gzip={codec}, 1,000 flows",
                  f"{middle['ns_per_packet']:.0f} ns/packet, {middle['finish_ns_per_packet']:.0f} more to finish and "
                  f"publish, {middle['bytes_per_packet']:.2f} bytes/packet",
                  note=f"in memory that ended flows have left; {middle['fresh_ns_per_packet']:.0f} ns while the system "
                  "still gives it", values=middle)
        if codec == "none":
            both = dispatcher + middle["ns_per_packet"]
            yield Row("P8", "dispatcher + ring + shard, no compression, from memory, one after the other",
                      f"{1000 / both:.2f} M packets/s, {both / copy:.1f} x memcpy", ">= 5 M/s, <= 5 x",
                      verdict(both <= 200 and both <= 5 * copy), values={"ns": both, "memcpy_ns": copy})
    for codec, us in pauses.items():
        yield Row("P13", f"longest pause of the shard's loop, p99.9, -gzip={codec}, as fast as it can", f"{us:,.0f} us",
                  "<= 1,000 us", verdict(us <= 1000), "a turn in which another process had the core counts by its CPU "
                  "time", {"us": us})


def many_flows(m):
    """4 packets of each flow; flows stay open and have no name, so that nothing but their number differs."""
    flows = m.count(1_000_000)

    def shard_ns(how_many):
        runs = [shard_run(m, 4 * flows, how_many, "none", "none") for _ in range(m.runs)]
        return (statistics.median(r[name] for r in runs) for name in ("ns_per_packet", "fresh_ns_per_packet"))

    def dispatcher_ns(how_many):
        return m.median(lambda: m.json("bench_dispatcher", 4 * flows, how_many)["ns_per_packet"])

    (few, few_fresh), few_before = shard_ns(1000), dispatcher_ns(1000)
    (many, many_fresh), many_before = shard_ns(flows), dispatcher_ns(65536)
    fresh = (many_fresh + many_before) / (few_fresh + few_before)
    few, many = few + few_before, many + many_before
    yield Row("P9", f"cost per packet at {flows:,} flows / at 1,000 (dispatcher + shard, no compression)",
              f"{many / few:.2f} ({many:.0f} / {few:.0f} ns)", "<= 1.5", verdict(many <= 1.5 * few),
              f"in memory that ended flows have left; {fresh:.2f} while the system still gives it",
              {"ratio": many / few, "many_ns": many, "few_ns": few, "fresh_ratio": fresh})


def end_to_end(m):
    flows, packets = FLOWS, m.count(PACKETS) // 4
    offered = flows * packets
    savefile = m.savefile(flows, packets)
    for codec in ("auto", "none"):
        for shards in (1, 2):
            r = measure.offline_median(m, savefile, offered, shards=shards, gzip=codec)
            yield Row("-", f"-read {flows:,} flows x {packets:,} packets, -shards {shards}, -gzip={codec}",
                      f"{r.wall / offered * 1e9:.0f} ns/packet, {offered / r.wall / 1e6:.2f} M packets/s, CPU "
                      f"{r.cpu / offered * 1e9:.0f} ns/packet, {r.bytes / offered:.2f} bytes/packet on disk",
                      note=f"{r.saved:,} of {offered:,} packets in the files",
                      values={"wall": r.wall, "cpu": r.cpu, "bytes": r.bytes, "packets": offered, "saved": r.saved})
    yield tcpdump_row(m, savefile, offered)


def tcpdump_copy(m, savefile):
    measure.need_program("tcpdump")
    with m.scratch() as scratch:
        out = pathlib.Path(scratch) / "copy.pcap"
        keep_root = ["-Z", "root"] if os.geteuid() == 0 else []  # else it may not write into our directory
        used = measure.run(["tcpdump", "-r", savefile, "-w", out, *keep_root], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        if used.status != 0:
            raise measure.Unfit(f"tcpdump exited with {used.status}")
        return used


def tcpdump_row(m, savefile, offered):
    try:
        runs = [tcpdump_copy(m, savefile) for _ in range(m.runs)]
    except NotMeasured as e:
        return Row("-", "tcpdump -r F -w G", "NOT MEASURED", note=str(e))
    wall, cpu = (statistics.median(getattr(r, name) for r in runs) for name in ("wall", "cpu"))
    return Row("-", "tcpdump -r F -w G (one file to one file)",
               f"{wall / offered * 1e9:.0f} ns/packet, CPU {cpu / offered * 1e9:.0f} ns/packet",
               values={"wall": wall, "cpu": cpu})


def bytes_on_disk(m):
    """The same saved bytes compressed per file as the reference does: one stream, level 6."""
    packets = m.count(PACKETS)
    savefile = m.savefile(FLOWS, packets)
    for codec, goal in (("small", 1.0), ("auto", 1.2), ("fast", 1.2)):
        with m.scratch() as scratch:
            data = pathlib.Path(scratch) / "data"
            summary = pathlib.Path(scratch) / "summary.json"
            used = measure.run([m.shardcap(), "-read", savefile, "-datadir", data, "-rundir",
                                pathlib.Path(scratch) / "run", "-shards=1", f"-gzip={codec}", "-syncinterval=0",
                                "-summary", summary], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if used.status != 0:
                raise measure.Unfit(f"shardcap exited with {used.status}")
            measure.verify(m, data, summary)
            ours = theirs = 0
            for path in data.rglob("*.pcap.gz"):
                packed = path.read_bytes()
                ours += len(packed)
                z = zlib.compressobj(6, zlib.DEFLATED, 31)
                theirs += len(z.compress(gzip.decompress(packed))) + len(z.flush())
        if theirs == 0:
            raise measure.Unfit("nothing was saved")
        yield Row("P3", f"bytes on disk, -gzip={codec}, against zlib level 6 in one stream per file",
                  f"{ours / theirs:.3f} ({ours:,} bytes)", f"<= {goal:.2f}", verdict(ours <= goal * theirs),
                  "zlib level 6 and the reference's encoder differ by less than 1 %",
                  values={"ratio": ours / theirs, "bytes": ours})


def splitter(m):
    for flows, goal in ((250, 0.33), (10_000, 0.7)):
        packets = m.count(1_000_000) // flows
        if packets == 0:
            raise NotMeasured("too few packets in a quick run")
        offered = flows * packets
        savefile = m.savefile(flows, packets, 3)
        r = measure.offline_median(m, savefile, offered, gzip="none")
        ours = r.cpu / offered * 1e6
        what = f"CPU per packet, split into {flows:,} files, -gzip=none"
        try:
            measure.need_program("PcapSplitter")
        except NotMeasured as e:
            yield Row("P10", what, f"{ours:.3f} us/packet", f"<= {goal} x PcapSplitter", "NOT MEASURED", str(e),
                      {"us": ours})
            continue
        runs = []
        for _ in range(m.runs):
            with m.scratch() as out:
                used = measure.run(["PcapSplitter", "-f", savefile, "-o", out, "-m", "connection"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                runs.append(used.cpu)
        theirs = statistics.median(runs) / offered * 1e6
        yield Row("P10", what, f"{ours / theirs:.2f} x ({ours:.3f} / {theirs:.3f} us)", f"<= {goal} x PcapSplitter",
                  verdict(ours <= goal * theirs), values={"us": ours, "pcapsplitter_us": theirs})


def files(m):
    n = m.count(20_000)
    one = measure.offline_median(m, m.savefile(1, 1, 3), 1)
    many = measure.offline_median(m, m.savefile(n, 1, 3), n)
    size = many.bytes // n

    def bare():
        with m.scratch() as scratch:
            return m.json("bench_files", scratch, n, size)["files_per_second"]

    theirs = m.median(bare)
    ours = (n - 1) / max(many.wall - one.wall, 1e-9)
    yield Row("P11", f"finished files a second, {n:,} flows of one packet, against open+write+rename",
              f"{ours / theirs:.2f} ({ours:,.0f} / {theirs:,.0f})", ">= 0.8", verdict(ours >= 0.8 * theirs),
              "start and stop of the family taken off", {"ours": ours, "bare": theirs})


ROWS = [("parts", parts, "P7"), ("shard", shard, "P8, P13"), ("many flows", many_flows, "P9"),
        ("end to end", end_to_end, "-"), ("disk", bytes_on_disk, "P3"), ("splitter", splitter, "P10"),
        ("files", files, "P11")]
