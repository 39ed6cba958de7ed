# SPDX-License-Identifier: Apache-2.0
"""Makes TCP packets and savefiles of every kind, deterministically; shares no source with the product.

A Flow makes Packets that know where their headers are (expected.py computes from that what must be saved). Every
packet's TCP sequence number says which flow it belongs to and which packet of it it is: flow << 12 | number. Every
payload and trailer byte is part of a canary that must never be seen in a file.

    python3 tests/lib/pcapgen.py OUT.pcap EVENTS.jsonl FLOWS PACKETS     writes a big one
"""
import ipaddress
import json
import struct
import sys
import time

NULL, ETHERNET, PPP, RAW, LOOP, SLL, IPV4, IPV6, SLL2 = 0, 1, 9, 101, 108, 113, 228, 229, 276
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
START = 1_700_000_000 * 10**9  # 2023-11-14T22:13:20Z
CANARY = b"\xc5CaNaRy\xa7"

OPT_SYN = bytes.fromhex("020405b40402080a000000010000000001030307")  # MSS, SACK, TS, NOP, WS
OPT_TS = bytes.fromhex("0101080a0000000200000001")


def canary(length):
    return (CANARY * (length // len(CANARY) + 1))[:length]


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Packet:
    """One captured packet: `data` are the bytes on the wire that were captured (caplen of them), `wire_len` all."""
    __slots__ = ("ts", "data", "wire_len", "flow", "number", "l3", "l4", "tcp_len", "linktype", "cause")

    def __init__(self, ts, data, wire_len=None, flow=None, number=0, l3=0, l4=0, tcp_len=0, linktype=ETHERNET,
                 cause=None):
        self.ts, self.data, self.wire_len = ts, data, len(data) if wire_len is None else wire_len
        self.flow, self.number, self.l3, self.l4, self.tcp_len = flow, number, l3, l4, tcp_len
        self.linktype, self.cause = linktype, cause

    def cut(self, caplen):
        """The same packet, of which only caplen bytes were captured."""
        self.data = self.data[:caplen]
        return self


def link_header(linktype, ethertype, vlans=()):
    """vlans: (tpid, vid) from the outermost in."""
    tags, kind = b"", ethertype
    for tpid, vid in reversed(vlans):
        tags = struct.pack(">HH", vid, kind) + tags
        kind = tpid
    if linktype == ETHERNET:
        return bytes.fromhex("020000000001020000000002") + struct.pack(">H", kind) + tags
    if linktype == SLL:
        return struct.pack(">HHH8sH", 0, 1, 6, bytes.fromhex("020000000001") + b"\0\0", kind) + tags
    if linktype == SLL2:
        return struct.pack(">HHIHBB8s", kind, 0, 2, 1, 0, 6, bytes.fromhex("020000000001") + b"\0\0") + tags
    if linktype == NULL:
        return struct.pack("<I", 2 if ethertype == 0x0800 else 30)
    if linktype == LOOP:
        return struct.pack(">I", 2 if ethertype == 0x0800 else 30)
    if linktype == PPP:
        return bytes.fromhex("ff03") + struct.pack(">H", 0x21 if ethertype == 0x0800 else 0x57)
    return b""  # RAW, IPV4, IPV6


def ext_chain(kinds, last):
    """IPv6 extension headers of the given kinds (0 hop-by-hop, 60 destination, 43 routing, 44 atomic fragment)."""
    out = b""
    kinds = list(kinds)
    for i, kind in enumerate(kinds):
        following = kinds[i + 1] if i + 1 < len(kinds) else last
        if kind == 44:
            out += struct.pack(">BBHI", following, 0, 0, 0x01020304)
        elif kind == 43:
            out += struct.pack(">BBBBI", following, 2, 0, 0, 0) + bytes(16)
        else:
            out += struct.pack(">BBBB", following, 0, 1, 4) + bytes(4)  # PadN
    return out


class Flow:
    """A TCP connection. ident: its number, below 2^20; addresses and ports follow from it unless given."""

    def __init__(self, ident, v6=False, linktype=ETHERNET, vlans=(), ext=(), ip_options=b"", client=None, server=None,
                 sport=None, dport=443):
        self.ident, self.linktype, self.vlans, self.ext, self.ip_options = ident, linktype, tuple(vlans), ext, ip_options
        self.v6 = v6
        if v6:
            self.client = ipaddress.ip_address(client or f"2001:db8:{ident >> 16:x}:{ident & 0xffff:x}::1:{ident % 251}")
            self.server = ipaddress.ip_address(server or "2001:db8:ffff::2")
        else:
            self.client = ipaddress.ip_address(client or (10 << 24) + ident // 40000 * 256 + 1)
            self.server = ipaddress.ip_address(server or "192.0.2.10")
        self.sport = 20000 + ident % 40000 if sport is None else sport
        self.dport = dport
        self.count = 0
        self.uuid = f"test_{ident:06d}"
        self.first_ts = None

    def packet(self, ts, flags=ACK, payload=0, from_client=True, options=OPT_TS, trailer=0, number=None, **over):
        """over: total_length (IPv4), payload_length (IPv6), data_offset: what to write there instead of the truth."""
        number = self.count if number is None else number
        self.count = number + 1
        self.first_ts = ts if self.first_ts is None else self.first_ts
        src, dst = (self.client, self.server) if from_client else (self.server, self.client)
        sport, dport = (self.sport, self.dport) if from_client else (self.dport, self.sport)
        body = canary(payload)
        tcp_len = 20 + len(options)
        tcp = bytearray(struct.pack(">HHIIBBHHH", sport, dport, self.ident << 12 | (number & 0xFFF), 0x5EED0000 + number,
                                    over.get("data_offset", tcp_len // 4) << 4, flags, 0x2000, 0, 0) + options)
        pseudo = src.packed + dst.packed + struct.pack(">II", tcp_len + payload, 6)
        tcp[16:18] = struct.pack(">H", checksum(pseudo + bytes(tcp) + body))
        if self.v6:
            chain = ext_chain(self.ext, 6)
            length = over.get("payload_length", len(chain) + tcp_len + payload)
            ip = struct.pack(">IHBB", 0x60000000, length, self.ext[0] if self.ext else 6, 64) + \
                src.packed + dst.packed + chain
            ethertype = 0x86DD
        else:
            ip_len = 20 + len(self.ip_options)
            length = over.get("total_length", ip_len + tcp_len + payload)
            ip = bytearray(struct.pack(">BBHHHBBH", 0x40 | ip_len // 4, 0, length, number & 0xFFFF, 0x4000, 64, 6, 0) +
                           src.packed + dst.packed + self.ip_options)
            ip[10:12] = struct.pack(">H", checksum(bytes(ip)))
            ethertype = 0x0800
        link = link_header(self.linktype, ethertype, self.vlans)
        data = link + bytes(ip) + bytes(tcp) + body + canary(trailer)
        return Packet(ts, data, None, self.ident, number, len(link), len(link) + len(ip), tcp_len, self.linktype)

    def conversation(self, start, exchanges=3, step=1_000_000, payload=700):
        """Handshake, exchanges of request, answer and acknowledgement, FIN both ways."""
        ts = start
        out = []

        def add(**how):
            nonlocal ts
            out.append(self.packet(ts, **how))
            ts += step

        add(flags=SYN, options=OPT_SYN)
        add(flags=SYN | ACK, from_client=False, options=OPT_SYN)
        add(flags=ACK)
        for _ in range(exchanges):
            add(flags=ACK | PSH, payload=payload)
            add(flags=ACK | PSH, payload=payload * 2, from_client=False)
            add(flags=ACK)
        add(flags=FIN | ACK)
        add(flags=FIN | ACK, from_client=False)
        add(flags=ACK)
        return out

    def event(self, ts=None, uuid=None):
        """The FlowEvent line that opens this flow, as tcp-info writes it."""
        ts = self.first_ts if ts is None else ts
        return event_line(uuid or self.uuid, ts, str(self.server), self.dport, str(self.client), self.sport, self.ident)


def rfc3339(ts):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts // 10**9)) + f".{ts % 10**9:09d}Z"


def event_line(uuid, ts, src, sport, dst, dport, cookie=0):
    return json.dumps({"Event": 0, "Timestamp": rfc3339(ts), "UUID": uuid,
                       "ID": {"SPort": sport, "DPort": dport, "SrcIP": src, "DstIP": dst, "Interface": 0,
                              "Cookie": cookie}}, separators=(",", ":")) + "\n"


def interleave(*lists):
    """By time; packets of one list keep their order."""
    return sorted((p for packets in lists for p in packets), key=lambda p: p.ts)


# ---- savefiles ----

def pcap(packets, order="<", nano=True, linktype=None, snaplen=262144):
    """Bytes of a classic savefile. Without nano, times must be whole microseconds."""
    linktype = packets[0].linktype if linktype is None else linktype
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)]
    unit = 1 if nano else 1000
    for p in packets:
        assert p.ts % unit == 0
        out.append(struct.pack(order + "IIII", p.ts // 10**9, p.ts % 10**9 // unit, len(p.data), p.wire_len) + p.data)
    return b"".join(out)


def _block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(packets, order="<", resolution=9, sections=1, linktype=None, snaplen=262144, simple_noise=True):
    """Bytes of a pcapng savefile. resolution: decimal digits, or -n for 2^-n s. Packets are split evenly over the
    sections; blocks that readers must skip stand in between."""
    linktype = packets[0].linktype if linktype is None else linktype
    out = []
    share = -(-len(packets) // sections)
    for s in range(sections):
        out.append(_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)))
        option = struct.pack(order + "HHB3x", 9, 1, resolution if resolution >= 0 else 0x80 | -resolution)
        out.append(_block(order, 1, struct.pack(order + "HHI", linktype, 0, snaplen) + option +
                          struct.pack(order + "HH", 0, 0)))
        if simple_noise:
            out.append(_block(order, 4, struct.pack(order + "HH", 0, 0)))  # name resolution, empty
        for p in packets[s * share:(s + 1) * share]:
            ticks = p.ts * 10**resolution // 10**9 if resolution >= 0 else (p.ts << -resolution) // 10**9
            out.append(_block(order, 6, struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(p.data),
                                                    p.wire_len) + p.data))
        if simple_noise:
            out.append(_block(order, 0x0BAD, canary(20)))
    return b"".join(out)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return str(path)


# ---- very many packets ----

def bulk(path, events, flows, packets, frame=66, step=1000, start=START):
    """`flows` connections of `packets` packets each, round robin, `step` ns apart, from templates: a million packets in
    a few seconds. Each is a bare 66-byte header (Ethernet, IPv4, TCP with timestamps) of a frame of `frame` bytes."""
    made = [Flow(i) for i in range(flows)]
    header = 16
    templates = []
    for flow in made:
        bodies = []
        for from_client in (True, False):
            p = flow.packet(start, payload=frame - 66, from_client=from_client, number=0)
            bodies.append(bytes(header) + p.data)
        templates.append(bodies)
    size = header + frame
    chunk = bytearray(size * flows)
    at = struct.Struct("<IIII").pack_into
    seq = struct.Struct(">I").pack_into
    ts = start
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, ETHERNET))
        for number in range(packets):
            side = number & 1
            chunk[:] = b"".join([t[side] for t in templates])
            offset = 0
            for ident in range(flows):
                at(chunk, offset, ts // 1000000000, ts % 1000000000, frame, frame)
                seq(chunk, offset + header + 38, ident << 12 | number & 0xFFF)
                ts += step
                offset += size
            out.write(chunk)
    with open(events, "w") as out:
        out.writelines(flow.event(start) for flow in made)
    return made


if __name__ == "__main__":
    bulk(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
