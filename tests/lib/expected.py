# SPDX-License-Identifier: Apache-2.0
"""Computes from generated packets what shardcap must write, byte for byte; shares no source with the product.

Rule (reference.md 4 in words): the header length of a flow is link + IP + extension bytes of its first packet + 60.
Each record keeps min(caplen, header length) bytes, where caplen is cut to the snaplen of the capture; what is neither
link, IP nor TCP header is zeros.
"""
import ipaddress
import struct
import time

import pcapgen

SNAPLEN = 256


def netblock(address):
    """IPv4: last byte 0. IPv6: bytes 6 to 15 zero."""
    packed = ipaddress.ip_address(address).packed
    return packed[:3] + b"\0" if len(packed) == 4 else packed[:6] + bytes(10)


def anonymized(data, l3, l4, linktype=pcapgen.ETHERNET):
    """netblock on a plain header without exempt addresses: addresses masked (also those of the link), IPv4 checksum
    recomputed if it was valid, TCP checksum and flow label 0."""
    data = bytearray(data)
    link = {pcapgen.ETHERNET: (0, 12), pcapgen.SLL: (6, 8), pcapgen.SLL2: (12, 8)}.get(linktype, (0, 0))
    data[link[0]:sum(link)] = bytes(link[1])
    if data[l3] >> 4 == 4:
        head = l3 + (data[l3] & 15) * 4
        valid = pcapgen.checksum(bytes(data[l3:head])) == 0
        data[l3 + 15] = data[l3 + 19] = 0
        data[l3 + 10:l3 + 12] = b"\0\0"
        if valid:
            data[l3 + 10:l3 + 12] = struct.pack(">H", pcapgen.checksum(bytes(data[l3:head])))
    else:
        data[l3 + 1:l3 + 4] = bytes([data[l3 + 1] & 0xF0, 0, 0])
        data[l3 + 14:l3 + 24] = bytes(10)
        data[l3 + 30:l3 + 40] = bytes(10)
    data[l4 + 16:l4 + 18] = b"\0\0"
    return bytes(data)


def records(packets, snaplen=SNAPLEN, anonymize=False):
    """[(ts, wire_len, bytes)] and the header length of one flow's packets, in the order given."""
    header_len = packets[0].l4 + 60
    out = []
    for p in packets:
        caplen = min(len(p.data), snaplen)
        end = p.l4 + p.tcp_len
        assert end <= caplen, "the generator is to give dropped packets a cause"
        head = p.data[:end]
        if anonymize:
            head = anonymized(head, p.l3, p.l4, p.linktype)
        out.append((p.ts, p.wire_len, (head + bytes(caplen - end))[:min(caplen, header_len)]))
    return header_len, out


def file_bytes(packets, snaplen=SNAPLEN, anonymize=False):
    """The whole decompressed file of one flow."""
    header_len, rows = records(packets, snaplen, anonymize)
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, header_len, packets[0].linktype)]
    for ts, wire_len, data in rows:
        out.append(struct.pack("<IIII", ts // 10**9, ts % 10**9, len(data), wire_len) + data)
    return b"".join(out)


def files(packets, flows, snaplen=SNAPLEN, anonymize=False, date=None, suffix=".pcap.gz"):
    """{path below datadir: bytes} of all packets without a cause, for flows named by flow.event() at their start."""
    by_flow = {}
    for p in packets:
        if p.cause is None and p.flow is not None:
            by_flow.setdefault(p.flow, []).append(p)
    out = {}
    for flow in flows:
        if flow.ident in by_flow:
            day = date or time.strftime("%Y/%m/%d", time.gmtime(flow.first_ts // 10**9))
            out[f"{day}/{flow.uuid}{suffix}"] = file_bytes(by_flow[flow.ident], snaplen, anonymize)
    return out


def causes(packets):
    """{cause: number} of the packets that are not to be saved."""
    out = {}
    for p in packets:
        if p.cause is not None:
            out[p.cause] = out.get(p.cause, 0) + 1
    return out
