# SPDX-License-Identifier: Apache-2.0
"""Holds the tree against the house rules of who may know whom:

1. dispatcher/ and shard/ include their own folder and shared/ only, shared/ only itself; a test anything.
2. Inside a folder a file includes only what stands under it in layers.txt (and its own header); a file that is not
   listed there is an error, so that its place gets thought about.
3. Each third-party header is included by exactly one .c file per program, and by no header.
4. --bin: the linker kept out of each program what it must not have.

    check_layers.py [--root DIR] [--bin DIR]

Exit 1 and one line per violation.
"""
import argparse
import pathlib
import re
import subprocess
import sys

FOLDERS = ("shared", "shard", "dispatcher/supervisor", "dispatcher/capture", "dispatcher/hub", "dispatcher/ctl")
THIRD_PARTY = re.compile(r"(pcap(/.*)?\.h|event2/.*|nanomsg/.*|jansson\.h|zlib\.h|isa-l\.h|libdeflate\.h|sys/capability\.h|ncurses\.h|seccomp\.h|png\.h|cmocka\.h)$")
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)

# What must not be among the libraries that a program names.
CODECS = ("libz.", "libisal", "libdeflate")
FORBIDDEN = {
    "shardcap": ("libnanomsg", "libjansson", "libpcap", *CODECS),
    "shardcap-dispatcher": ("libnanomsg", "libjansson", *CODECS),
    "shardcap-hub": ("libpcap", *CODECS),
    "shardcap-shard": ("libpcap",),
    "shardcapctl": ("libevent", "libseccomp", "libcap."),  # it reads captures, and is confined by whoever calls it
}


def read_layers(path):
    """{folder: {file stem: floor}}, 0 being the top."""
    layers, current, floor = {}, None, 0
    for line in path.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            current = layers.setdefault(line.strip("[]"), {})
        else:
            for module in line.split():
                floor += 1
                for stem in module.split("+"):
                    if stem in current:
                        raise SystemExit(f"{path}: {stem} stands there twice")
                    current[stem] = floor
    return layers


def includes(path):
    """(project includes, system includes)"""
    own, system = [], []
    for quoted, angled in INCLUDE.findall(path.read_text(errors="replace")):
        (own if quoted else system).append(quoted or angled)
    return own, system


def check(root):
    layers = read_layers(root / "tests/guards/layers.txt")
    errors = []
    third = {}  # (program folder, header) -> [files]
    for folder in FOLDERS:
        floors = layers.get(folder, {})
        for path in sorted((root / folder).glob("*.[ch]")):
            name = f"{folder}/{path.name}"
            if path.stem not in floors:
                errors.append(f"{name}: not in tests/guards/layers.txt, section [{folder}]")
                continue
            own, system = includes(path)
            for target in own:
                where, _, header = target.rpartition("/")
                stem = header.removesuffix(".h")
                if not (root / target).exists():
                    errors.append(f"{name}: includes {target}, which is not a path from the root of the tree")
                elif where not in (folder, "shared"):
                    errors.append(f"{name}: includes {target}: {folder} may know itself and shared only")
                elif where == folder and floors.get(stem, -1) < floors[path.stem]:
                    errors.append(f"{name}: includes {target}, which does not stand under it")
            for header in filter(THIRD_PARTY.match, system):
                if path.suffix == ".h":
                    errors.append(f"{name}: a header includes <{header}>")
                third.setdefault(header, {}).setdefault(folder, []).append(name)
        for stem in floors:
            if not list((root / folder).glob(f"{stem}.[ch]")):
                errors.append(f"tests/guards/layers.txt: [{folder}] lists {stem}, which does not exist")
    for header, users in third.items():
        for folder in FOLDERS[1:]:
            files = sorted(set(users.get("shared", []) + users.get(folder, [])))
            if len(files) > 1 and (folder in users or folder == FOLDERS[1]):
                errors.append(f"<{header}> is included by more than one file of a program: {', '.join(files)}")
    return errors


def check_links(bin_dir):
    errors = []
    for program, forbidden in FORBIDDEN.items():
        path = bin_dir / program
        if not path.exists():
            errors.append(f"{path} was not built")
            continue
        dynamic = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"NEEDED.*\[(.*)\]", dynamic):
            if library.startswith(forbidden):
                errors.append(f"{program} is linked with {library}")
    return errors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--bin", type=pathlib.Path)
    args = parser.parse_args()
    errors = check(args.root) + (check_links(args.bin) if args.bin else [])
    print("\n".join(errors) if errors else "layers: clean")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
