# SPDX-License-Identifier: Apache-2.0
"""make bench: every row of the goals that this machine allows, medians of three, as a table for people; with
BENCH_JSON=FILE also as JSON.

    bench.py [--build DIR] [--runs N] [--scale F] [--only P1,P8,parts]

After BENCH_LIMIT seconds (550) no further group is begun, so that the end is known: the last ones are short. A row that
cannot be taken says NOT MEASURED and why; one taken with less work than its goal is meant for is not judged.
Other load on the machine makes every figure worse: it stands in the head of the table. A run whose packets do not add
up is FAILED, and so is the bench.
Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import measure
import rows_family
import rows_live
import rows_offline
from measure import NotMeasured, Row, Unfit

GROUPS = rows_offline.ROWS + rows_family.ROWS + rows_live.ROWS


def take(machine, name, rows, ids):
    """The rows of one group; what goes wrong becomes a row, too."""
    out = []
    try:
        for row in rows(machine):
            if machine.scale < 1 and row.verdict in ("met", "MISSED"):
                row = row._replace(verdict="not judged")  # the goals are for the whole work
            print(f"  {row.id:>3}  {row.what}: {row.measured} {row.verdict}", file=sys.stderr, flush=True)
            out.append(row)
    except NotMeasured as e:
        out.append(Row(ids, name, "NOT MEASURED", note=str(e)))
    except (Unfit, OSError, subprocess.SubprocessError, measure.strictpcap.Malformed) as e:
        out.append(Row(ids, name, "FAILED", note=f"{type(e).__name__}: {e}"))
    except Exception as e:  # a bug of the bench itself must not hide the other rows
        traceback.print_exc()
        out.append(Row(ids, name, "FAILED", note=f"{type(e).__name__}: {e}"))
    return out


def table(rows):
    head = Row("row", "what", "measured", "goal", "verdict", "note")
    width = [max(len(str(r[i])) for r in [head, *rows]) for i in range(5)]
    for row in [head, *rows]:
        print("  ".join(str(row[i]).ljust(width[i]) for i in range(5)) + f"  {row.note}".rstrip())


def machine_text():
    try:
        model = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.machine()
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}"


def wanted(only, name, ids):
    words = {word.strip() for word in only.split(",") if word.strip()}
    return not words or name in words or bool(words & {i.strip() for i in ids.split(",")})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("BENCH_RUNS", 3)))
    parser.add_argument("--scale", type=float, default=float(os.environ.get("BENCH_SCALE", 1)))
    parser.add_argument("--only", default=os.environ.get("ONLY", ""))
    parser.add_argument("--limit", type=int, default=int(os.environ.get("BENCH_LIMIT", 550)))
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="shardcap-bench-")
    os.chmod(directory, 0o755)  # the shards' user must come through
    rows, before, until = [], os.getloadavg(), time.monotonic() + arguments.limit
    try:
        machine = measure.Machine(arguments.build, arguments.runs, arguments.scale, directory)
        codecs = machine.codecs()
        for name, take_rows, ids in GROUPS:
            if not wanted(arguments.only, name, ids):
                continue
            if time.monotonic() > until:
                rows.append(Row(ids, name, "NOT MEASURED", note=f"{arguments.limit} s were over"))
            else:
                began = time.monotonic()
                rows += take(machine, name, take_rows, ids)
                print(f"       ({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    load = f"load average {before[0]:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"\n{machine_text()}; {load}; gzip by {codecs}; medians of {arguments.runs}, work x {arguments.scale:g}")
    table(rows)
    out = os.environ.get("BENCH_JSON")
    if out:
        pathlib.Path(out).write_text(json.dumps(
            {"machine": machine_text(), "codecs": codecs, "load_before": before[0], "runs": arguments.runs, "scale": arguments.scale,
             "rows": [row._asdict() for row in rows]}, indent=1) + "\n")
    return 1 if any("FAILED" in (row.measured, row.verdict) for row in rows) or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
