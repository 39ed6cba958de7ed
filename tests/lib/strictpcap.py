# SPDX-License-Identifier: Apache-2.0
"""A strict reader of what shardcap writes; shares no source with the product.

Refuses (raises Malformed) everything that is not exactly one gzip member with exactly one classic nanosecond savefile:
trailing bytes, a second member, a cut record, a caplen above the snaplen or the wire length.
"""
import collections
import pathlib
import struct
import zlib

Record = collections.namedtuple("Record", "ts wire_len data")
Savefile = collections.namedtuple("Savefile", "snaplen linktype records raw")


class Malformed(Exception):
    pass


def gunzip(data, name="?"):
    """The content of exactly one gzip member."""
    if data[:3] != b"\x1f\x8b\x08":
        raise Malformed(f"{name}: no gzip header")
    member = zlib.decompressobj(31)
    try:
        out = member.decompress(data) + member.flush()
    except zlib.error as e:
        raise Malformed(f"{name}: {e}") from e
    if not member.eof:
        raise Malformed(f"{name}: the gzip member does not end")
    if member.unused_data:
        raise Malformed(f"{name}: {len(member.unused_data)} bytes after the gzip member")
    return out


def parse(raw, name="?"):
    if len(raw) < 24:
        raise Malformed(f"{name}: {len(raw)} bytes are no savefile")
    magic, major, minor, zone, sigfigs, snaplen, linktype = struct.unpack_from("<IHHiIII", raw)
    if magic != 0xA1B23C4D:
        raise Malformed(f"{name}: magic {magic:#x}")
    if (major, minor, zone, sigfigs) != (2, 4, 0, 0):
        raise Malformed(f"{name}: version, zone or sigfigs {major}.{minor} {zone} {sigfigs}")
    if not 0 < snaplen <= 65535 + 60:
        raise Malformed(f"{name}: snaplen {snaplen}")
    records = []
    at = 24
    while at < len(raw):
        if at + 16 > len(raw):
            raise Malformed(f"{name}: a record head is cut at {at}")
        sec, nsec, caplen, wire_len = struct.unpack_from("<IIII", raw, at)
        at += 16
        if nsec >= 10**9 or caplen > snaplen or caplen > wire_len or caplen == 0:
            raise Malformed(f"{name}: record at {at - 16}: nsec {nsec} caplen {caplen} snaplen {snaplen} len {wire_len}")
        if at + caplen > len(raw):
            raise Malformed(f"{name}: a record is cut at {at}")
        records.append(Record(sec * 10**9 + nsec, wire_len, raw[at:at + caplen]))
        at += caplen
    return Savefile(snaplen, linktype, records, raw)


def read(path):
    path = pathlib.Path(path)
    data = path.read_bytes()
    return parse(gunzip(data, path) if path.suffix == ".gz" else data, path)


def tree(datadir):
    """{path below datadir: Savefile} of everything published; nothing else may be there but directories."""
    out = {}
    for path in sorted(pathlib.Path(datadir).rglob("*")):
        name = path.relative_to(datadir)
        if name.parts[0] == ".staging":
            continue
        if path.is_dir():
            if len(name.parts) > 3 or not all(part.isdigit() for part in name.parts):
                raise Malformed(f"unexpected directory {name}")
        elif len(name.parts) != 4 or not name.name.endswith((".pcap.gz", ".pcap")):
            raise Malformed(f"unexpected file {name}")
        else:
            out[str(name)] = read(path)
    return out
