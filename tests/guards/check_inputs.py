# SPDX-License-Identifier: Apache-2.0
"""Has each of the forty hostile inputs a test, and which? -v prints the table.

A test says which it is by `Hostile input 38` in the comment above its function (C) or in its docstring (Python); what is
a single frame is a row of tests/unit/shared/frame_rows.h whose name begins with the number. Exit 1 if an input has no
test, or if a marked function is not run.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

INPUTS = """frame of 0..13 bytes|short_frame
Ethernet header only|bad_ip4, bad_ip6
802.3 + LLC/SNAP|saved, not_tcp
VLAN tags 1..4, 5, 200, cut|saved, vlan_depth, short_frame
VID 0|saved
one 4-tuple on two VLANs or interfaces|one flow
MPLS, no bottom bit, PPPoE|saved, vlan_depth, saved
version and ethertype disagree|bad_ip4, bad_ip6
IHL 0..4, 15, beyond total length|bad_ip4
IPv4 total length too small; 0 (TSO)|bad_ip4, saved
total length above wire length; trailer|saved, without the trailer
fragments, first and later|tcp_short, saved, frag_noninitial
IPv4 options|saved, addresses wiped
IPv6 payload length 0, jumbo|saved
chains of extension headers|saved, ext_chain
HBH not first, ESP, none, unknown|saved, not_tcp
AH length 0 and 255, SRH|ext_chain, saved
later IPv6 fragment like TCP|frag_noninitial
routing headers, Home Address|saved, key of the fixed header, wiped
IPv4-mapped packets and events|key of IPv4
TCP of 0..19 bytes|tcp_short
data offset 0..4, 15, at caplen|tcp_bad_offset, saved
TCP option lengths, EOL + canary|saved, zeros from the bad option on
ADD_ADDR, TFO, options 28, 76, 200, 254|saved, wiped
LAND, port 0, multicast, 0.0.0.0|saved
both directions, equal ends|one key each
a valid packet cut at every byte|the cause of the cut
impossible record lengths|bad_record or a reader's error
times back, 0, beyond 2038, 2106|saved
savefiles of every kind|saved or refused by name
raw IP like an ethertype|saved as raw IP
SLL, SLL2, NULL, LOOP, PPP|saved
tunnels|tunnel
floods, one flow of very many packets|bounded, the named keep all
a million keys that collide unkeyed|cost unchanged
4-tuple reused|two whole files
UUID before, after, late, twice|named, suffixes
hostile event lines|counted by reason, the next works
hostile timestamps|accepted or badtime, directory by rule
ring record with flipped bits|bad_record and resync""".splitlines()

MARK = re.compile(r"Hostile inputs? (\d+(?:, \d+)*)")


def in_c(path):
    """[(number, test)] of a C file."""
    text = path.read_text()
    out = []
    for comment, name in re.findall(r"/\*((?:[^*]|\*(?!/))*)\*/\s*static void (\w+)\(void \*\*", text):
        for numbers in MARK.findall(comment):
            if not re.search(rf"cmocka_unit_test\w*\({name}\b", text):
                sys.exit(f"inputs: {path.relative_to(ROOT)}: {name} is not run")
            out += [(int(n), name) for n in numbers.split(", ")]
    return out


def in_python(path):
    out = []
    for name, docstring in re.findall(r'^    def (test_\w+)\(self\):\n        """(.*?)"""', path.read_text(), re.M | re.S):
        out += [(int(n), name) for numbers in MARK.findall(docstring) for n in numbers.split(", ")]
    return out


def rows():
    """The rows of the table of frames."""
    text = (ROOT / "tests/unit/shared/frame_rows.h").read_text()
    return [(int(n), f"row \"{n} {rest}\"") for n, rest in re.findall(r'^    \{"(\d+) ([^"]*)"', text, re.M)]


def main():
    found = {n: [] for n in range(1, len(INPUTS) + 1)}
    for path in sorted((ROOT / "tests").rglob("test_*")):
        tests = in_c(path) if path.suffix == ".c" else in_python(path) if path.suffix == ".py" else []
        for number, name in tests:
            found[number].append(f"{path.relative_to(ROOT / 'tests')}: {name}")
    for number, name in rows():
        found[number].append(f"unit/shared/frame_rows.h: {name}")
    for number, text in enumerate(INPUTS, 1):
        if "-v" in sys.argv[1:]:
            print(f"{number:2} {' -> '.join(text.split('|'))}")
            for test in found[number]:
                print(f"       {test}")
    missing = [str(n) for n, tests in found.items() if not tests]
    print(f"inputs: {len(found) - len(missing)} of {len(found)} hostile inputs have a test")
    return f"inputs: no test for {', '.join(missing)}" if missing else 0


if __name__ == "__main__":
    sys.exit(main())
