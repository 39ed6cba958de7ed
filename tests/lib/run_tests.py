# SPDX-License-Identifier: Apache-2.0
"""The test runner: unit, stress and chaos programs, fuzz seeds, integration tests, guards; one total at the end.

    run_tests.py [--build DIR] [--only NAME] [--jobs N] unit|valgrind|stress|fuzz|chaos|integration|guards ...

Every program and every test has a time limit. The output of what failed is printed in full; skips are listed by
reason; a line of output that begins with NOTE is shown; the last line is `N passed, N failed, N skipped`. Exit 1 if
anything failed or if nothing ran.
Python's standard library only.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import need

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM_TIMEOUT = int(os.environ.get("PROGRAM_LIMIT") or 300)
FILE_TIMEOUT = 1600 + 3 * int(float(os.environ.get("CHAOS_SECONDS") or 0))
TEST_TIMEOUT = 120

Outcome = collections.namedtuple("Outcome", "name outcome text seconds", defaults=("", 0.0))


def run(command, timeout, env):
    """Runs in a session of its own, all of which is killed at the end. Returns (status or None on timeout, output)."""
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                 start_new_session=True)
        try:
            status = child.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        out.seek(0)
        return status, out.read().decode("utf-8", "replace")


def ending(status):
    if status is None:
        return "ran into its time limit"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"exited with status {status}"


LONG = ("test_chaos", "test_failing_calls", "test_flood", "test_kernel", "test_disk", "step_kill")  # are begun first

VALGRIND = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
            "--child-silent-after-fork=yes"]
NOT_UNDER_VALGRIND = {  # unit programs
    "test_crash": "not under valgrind: its thousands of deaths and adoptions take minutes there",
    "test_salvage": "not under valgrind: it damages a file at every place, which takes minutes there",
    "test_sandbox": "not under valgrind: it makes system calls of its own in the name of a process behind a filter",
}

def notes(name, output):
    return [Outcome(name, "note", text) for text in re.findall(r"^NOTE (.*)$", output, re.M)]


CMOCKA = re.compile(r"^\[\s+(OK|FAILED|SKIPPED|ERROR)\s+\] (\w+)\s*$", re.M)


def run_program(path, env, under=()):
    """A cmocka program counts as many tests as it reports; another one counts as one, passed if it exits with 0."""
    name = str(path.relative_to(env["BUILD_TESTS"]))
    began = time.monotonic()
    status, output = run([*under, str(path)], PROGRAM_TIMEOUT, env)
    seconds = time.monotonic() - began
    outcomes = []
    announced = sum(int(n) for n in re.findall(r"^\[==========\] Running (\d+) test", output, re.M))
    for word, test in CMOCKA.findall(output):
        if word == "OK":
            outcomes.append(Outcome(f"{name}: {test}", "passed"))
        elif word == "SKIPPED":
            reason = re.search(rf"^SKIP {test}: (.*)$", output, re.M)
            outcomes.append(Outcome(f"{name}: {test}", "skipped", reason.group(1) if reason else "no reason given"))
        else:
            outcomes.append(Outcome(f"{name}: {test}", "failed", output))
    # cmocka repeats failed tests in its closing lines
    outcomes = list({o.name: o for o in outcomes}.values())
    if status != 0 and not any(o.outcome == "failed" for o in outcomes):
        outcomes.append(Outcome(name, "failed", f"{ending(status)}\n{output}"))
    elif not outcomes:
        outcomes.append(Outcome(name, "passed"))
    elif len(outcomes) < announced and status == 0:
        outcomes.append(Outcome(name, "failed", f"announced {announced} tests, reported {len(outcomes)}\n{output}"))
    return [o._replace(seconds=seconds) for o in outcomes + notes(name, output)]


def run_valgrind(path, env):
    name = str(path.relative_to(env["BUILD_TESTS"]))
    if path.name in NOT_UNDER_VALGRIND:
        return [Outcome(name, "skipped", NOT_UNDER_VALGRIND[path.name])]
    return run_program(path, env, VALGRIND)


def run_python(path, env, selection):
    """Tests that need a network of their own run as root of a user namespace if the caller is not root."""
    command = [sys.executable, str(ROOT / "tests/lib/run_one.py"), str(path)]
    source = path.read_text()
    if os.geteuid() != 0 and "IN_USER_NAMESPACE = True" in source and need.PROBES["userns"][0]():
        command = ["unshare", "-Urnm", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"] + command
    with tempfile.NamedTemporaryFile("r") as results:
        status, output = run(command + [results.name, str(TEST_TIMEOUT)] + selection, FILE_TIMEOUT, env)
        records = [json.loads(line) for line in results.read().splitlines()]
    ended = bool(records) and "end" in records[-1]
    outcomes = {}
    for r in records[:len(records) - ended]:
        if r["test"] in outcomes and r["outcome"] == "failed":  # a test and its cleanups may fail more than once
            r["text"] = outcomes[r["test"]].text + r["text"]
        outcomes[r["test"]] = Outcome(r["test"], r["outcome"], r["text"], r["seconds"])
    outcomes = list(outcomes.values())
    if status != 0 or not ended:
        outcomes.append(Outcome(path.stem, "failed", f"{ending(status)}\n{output}"))
    elif any(o.outcome == "failed" for o in outcomes) and output.strip():
        outcomes = [o._replace(text=o.text + "\n--- output of the file ---\n" + output[-20000:])
                    if o.outcome == "failed" else o for o in outcomes]
    return outcomes + notes(path.stem, output)


def show(title, outcomes, verbose):
    count = collections.Counter(o.outcome for o in outcomes)
    seconds = sum(o.seconds for o in outcomes) if len({o.seconds for o in outcomes}) > 1 else outcomes[0].seconds
    words = ", ".join(f"{count[w]} {w}" for w in ("passed", "failed", "skipped") if count[w])
    print(f"{title:<44} {words}  ({seconds:.1f} s)", flush=True)
    for o in outcomes:
        if o.outcome == "failed":
            print(f"--- FAILED {o.name}\n{o.text.rstrip()}\n---", flush=True)
        elif o.outcome == "note":
            print(f"    {o.text}", flush=True)
        elif verbose:
            print(f"    {o.outcome:<8} {o.seconds:6.2f}  {o.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2 * os.cpu_count(),  # most of them wait most of the time
                        help="at a time")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("what", nargs="+", choices=["unit", "valgrind", "stress", "fuzz", "chaos", "integration",
                                                         "guards"])
    args = parser.parse_args()
    build = (ROOT / args.build).resolve()
    env = dict(os.environ, SHARDCAP_BIN=str(build / "bin"), BUILD_TESTS=str(build / "tests"), PYTHONUNBUFFERED="1",
               PYTHONDONTWRITEBYTECODE="1", CMOCKA_MESSAGE_OUTPUT="STDOUT")
    only, _, selection = args.only.partition(".")
    selection = [selection] if selection else []

    jobs = []
    missing = []
    for what in args.what:
        if what in ("unit", "valgrind", "stress", "fuzz", "chaos"):
            folder = "unit" if what == "valgrind" else what
            runner = run_valgrind if what == "valgrind" else run_program
            for source in sorted((ROOT / "tests" / folder).rglob("fuzz_*.c" if what == "fuzz" else "*.c")):
                program = build / "tests" / source.relative_to(ROOT / "tests").with_suffix("")
                program = program.with_name(program.name.removeprefix("fuzz_"))
                if not only or only in source.stem:
                    if program.exists():
                        jobs.append((str(source.relative_to(ROOT)), lambda p=program, r=runner: r(p, env)))
                    else:
                        missing.append(Outcome(str(program), "failed", "was not built"))
        if what in ("chaos", "integration", "guards"):
            for path in sorted((ROOT / "tests" / what).glob("test_*.py")):
                if not only or only == path.stem:
                    jobs.append((str(path.relative_to(ROOT)), lambda p=path: run_python(p, env, selection)))

    outcomes = list(missing)
    if missing:
        show("programs that were not built", missing, args.verbose)
    jobs.sort(key=lambda job: pathlib.Path(job[0]).stem not in LONG)
    with ThreadPoolExecutor(args.jobs) as pool:
        for title, done in [(title, pool.submit(job)) for title, job in jobs]:
            if done.result():
                show(title, done.result(), args.verbose)
                outcomes += done.result()

    count = collections.Counter(o.outcome for o in outcomes)
    if count["skipped"]:
        print("\nskipped:")
        reasons = collections.defaultdict(list)
        for o in outcomes:
            if o.outcome == "skipped":
                reasons[o.text].append(o.name)
        for reason, names in sorted(reasons.items()):
            print(f"  {len(names):3} {reason}: {', '.join(names[:3])}{' ..' if len(names) > 3 else ''}")
    if count["failed"]:
        print("\nfailed:")
        for o in outcomes:
            if o.outcome == "failed":
                print(f"  {o.name}")
    print(f"\n{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
