# SPDX-License-Identifier: Apache-2.0
"""Looks for what must not be there: in files and their names, in memory that processes share, in processes themselves.

A haystack is a list of (where, bytes). Files that are compressed come twice, as they are and as what they say, also
while they are being written. Shares no source with the product.
"""
import ipaddress
import os
import pathlib
import re
import zlib

import pcapgen


def inflate(data):
    """What a gzip member says, as far as it goes."""
    try:
        return zlib.decompressobj(31).decompress(data)
    except zlib.error:
        return b""


def written(*roots):
    """Everything below the roots: names, contents, contents of compressed files."""
    out = []
    for root in map(pathlib.Path, roots):
        for path in [root, *sorted(root.rglob("*"))] if root.exists() else []:
            out.append((f"name of {path}", str(path).encode()))
            if path.is_file():
                try:
                    data = path.read_bytes()
                except FileNotFoundError:  # published in this moment: the next look finds it
                    continue
                out += [(str(path), data), (f"{path}, decompressed", inflate(data))]
    return out


def shared_memory(pid):
    """The memfds that a process holds open, without their holes."""
    out = []
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        target = os.readlink(link)
        if not target.startswith("/memfd:"):
            continue
        name = target.removeprefix("/memfd:").split(" ")[0]
        fd = os.open(link, os.O_RDONLY)
        try:
            end, at, parts = os.fstat(fd).st_size, 0, []
            while at < end:
                try:
                    at = os.lseek(fd, at, os.SEEK_DATA)
                except OSError:  # a hole up to the end
                    break
                hole = os.lseek(fd, at, os.SEEK_HOLE)
                parts.append(os.pread(fd, hole - at, at))
                at = hole
            out.append((f"memory {name} (fd {link.name})", b"".join(parts)))
        finally:
            os.close(fd)
    return out


def process_memory(pid, name):
    """What a process can write to, without the memfds (shared_memory has them)."""
    out = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            bounds, rights, *rest = line.split(maxsplit=5)
            start, end = (int(x, 16) for x in bounds.split("-"))
            if not rights.startswith("rw") or "/memfd:" in line or end - start > 1 << 28:
                continue
            try:
                memory.seek(start)
                out.append((f"{name} {pid} {bounds} {rest[-1] if len(rest) > 3 else ''}", memory.read(end - start)))
            except OSError:
                continue
    return out


def canaries(length):
    """Every piece of a canary that is so long."""
    ring = pcapgen.CANARY * 4
    return [ring[i:i + length] for i in range(len(pcapgen.CANARY))]


def spellings(address):
    """The part of an address that netblock hides, as somebody might have written it: [(how, bytes)]. Of IPv4, where a
    byte alone proves nothing, the whole address."""
    ip = ipaddress.ip_address(address)
    raw = ip.packed
    if ip.version == 6:
        tail, text = raw[8:], {str(ip), ip.exploded, ":".join(ip.exploded.split(":")[4:]), ":".join(str(ip).split(":")[-4:])}
    else:
        tail, text = raw, {str(ip)}
    numbers = {str(int.from_bytes(b, order)) for b in (raw, tail) for order in ("big", "little")}
    hexes = {form for b in (raw, tail) for form in (b.hex(), b[::-1].hex(), b.hex(":"), b.hex("-"), b.hex(" "))}
    out = [("raw", tail), ("raw, reversed", tail[::-1])]
    out += [("text", t.encode()) for t in text] + [("decimal", n.encode()) for n in numbers]
    return out + [("hex", h.encode()) for h in hexes] + [("hex", h.upper().encode()) for h in hexes]


def find(haystack, needles):
    """[where: how] of everything found. Text is matched as a word, so that 10.0.0.1 is not found in 10.0.0.17."""
    found = []
    for how, needle in needles:
        word = re.compile(rb"(?<![0-9A-Za-z.:])" + re.escape(needle) + rb"(?![0-9A-Za-z:])") \
            if how in ("text", "decimal") else None
        for where, data in haystack:
            at = data.find(needle)
            if at >= 0 and (word is None or word.search(data)):
                found.append(f"{where}: {how} {needle!r} at {at}: {data[max(0, at - 24):at + 40]!r}")
    return found
