# SPDX-License-Identifier: Apache-2.0
"""Runs the real programs for a test: own directories, own sockets, no fixed port; stops them whatever happens.

Every run that ended well is held against its files by shardcapctl verify, whatever else its test asks of it.
Failure policy: a wait that does not come true fails the test and shows the log.
"""
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import netns
import strictpcap

BIN = pathlib.Path(os.environ.get("SHARDCAP_BIN") or pathlib.Path(__file__).resolve().parents[2] / "build/bin")
PROGRAMS = ("shardcap", "shardcap-dispatcher", "shardcap-hub", "shardcap-shard", "shardcapctl")

TROUBLE = {"short_frame", "bad_ip4", "bad_ip6", "ext_chain", "tcp_short", "tcp_bad_offset", "vlan_depth", "bad_record",
           "ring_full", "budget", "halfopen_evicted", "no_uuid", "disk_full", "disk_error", "poison", "arena_lost",
           "linktype_changed"}
LIMITS = {"not_tcp", "tunnel", "frag_noninitial", "filtered", "capture_limit", "maxflows", "sampled", "duplicate"}

# The family confines itself, which a leak check at exit cannot live with.
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:disable_coredump=1",
              "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1", "TSAN_OPTIONS": "halt_on_error=1"}
SANITIZED = b"libasan.so" in (BIN / "shardcap").read_bytes() if (BIN / "shardcap").exists() else False
SANITIZER_WORDS = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|UndefinedBehavior")


def until(condition, what, timeout=30, log=lambda: ""):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {what}\n{log()}")
        time.sleep(0.02)


def clean_env(**more):
    """An environment without settings of ours."""
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    env.update(SANITIZERS)
    env.update(more)
    return env


class Family:
    """args: the command line without -datadir, -rundir, -summary, which are given here unless they are among args.

    namespace: name of a network namespace to run in. wrapper: words before the program (setpriv ..). tty: a pty's end
    for stdin, stdout and stderr. programs: a directory with a copy of them. The objects `work` (temporary directory),
    `datadir`, `rundir` are paths.
    """

    def __init__(self, test, *args, namespace=None, wrapper=(), env=None, stdin=subprocess.DEVNULL, datadir=None,
                 work=None, cwd=None, stderr=None, nofile=None, programs=None):
        self.test = test
        self.work = work or workdir(test)
        self.datadir = pathlib.Path(datadir or self.work / "data")
        self.rundir = self.work / "run"
        self.summary_file = self.work / "summary.json"
        self.namespace = namespace
        self.proves = True  # a test that has put something foreign below datadir says False, and proves by itself
        args = [str(a) for a in args]
        given = {a.lstrip("-").split("=")[0] for a in args if a.startswith("-")}
        for flag, value in (("datadir", self.datadir), ("rundir", self.rundir), ("summary", self.summary_file)):
            if flag not in given:
                args.append(f"-{flag}={value}")
        self.live = "read" not in given
        if self.live and "prometheusx.listen-address" not in given:
            args.append("-prometheusx.listen-address=127.0.0.1:0")
        command = list(netns.enter(namespace)) + list(wrapper) + [str((programs or BIN) / "shardcap")] + args
        self.log_path = self.work / f"log.{len(list(self.work.glob('log.*')))}"
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))) if nofile else None
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=stdin, stdout=log, stderr=stderr or log, cwd=cwd,
                                            env=clean_env(**(env or {})), start_new_session=True, preexec_fn=limit)
        test.addCleanup(self.kill)
        self.command = command

    # ---- watching ----

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def said(self, pattern):
        return re.search(pattern, self.log)

    def until(self, condition, what, timeout=30):
        def checked():
            value = condition()
            if not value and self.process.poll() is not None:
                raise AssertionError(f"ended with status {self.process.returncode} before: {what}\n{self.log}")
            return value
        return until(checked, what, timeout, lambda: self.log)

    def wait(self, timeout=60):
        """Waits for the end and returns the exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s: {' '.join(self.command)}\n{self.log}") from None
        self.check_sanitizers()
        if self.proves and status == 0 and self.summary_file.exists() and self.datadir.is_dir():
            self.verify("-summary", self.summary_file)
        return status

    def check_sanitizers(self):
        if SANITIZER_WORDS.search(self.log):
            raise AssertionError(f"a sanitizer spoke up:\n{self.log}")

    def url(self):
        """(host, port) of the HTTP page, from the log."""
        found = self.until(lambda: self.said(r"http://(127\.0\.0\.1|\[::1?\]|[0-9.]+):(\d+)"), "an http:// address")
        return found.group(1).strip("[]"), int(found.group(2))

    def get(self, path, method="GET"):
        """(status, text) of an HTTP request, made in the family's namespace."""
        host, port = self.url()

        def ask():
            connection = http.client.HTTPConnection(host, port, timeout=10)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()
        return netns.inside(self.namespace, ask)

    def ready(self, interfaces=1, timeout=30):
        """Waits until all processes are up and so many interfaces are captured."""
        def asked():
            try:
                return self.get("/readyz")[0] == 200 and \
                    self.metric("pcap_muxer_interfaces_with_captures") >= interfaces
            except (OSError, http.client.HTTPException):
                return False
        self.until(asked, f"/readyz answers 200 and {interfaces} interfaces are captured", timeout)
        return self

    def metrics(self):
        """{name{labels}: value} of /metrics."""
        status, text = self.get("/metrics")
        assert status == 200, status
        out = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                out[name] = float(value)
        return out

    def metric(self, name):
        """Sum of a metric over its labels."""
        return sum(v for k, v in self.metrics().items() if k == name or k.startswith(name + "{"))

    def ctl(self, command, timeout=10):
        """The answer of ctl.sock to one line, as nanocat gets it."""
        done = subprocess.run(["nanocat", "--req", "--connect", f"ipc://{self.rundir}/ctl.sock", "--raw",
                               "--recv-timeout", str(timeout), "--send-timeout", str(timeout), "-D", command],
                              capture_output=True, timeout=timeout + 20, check=False)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout.decode()

    def status(self):
        return json.loads(self.ctl("status"))

    def settled(self, timeout=60):
        """Waits until nothing is left to be restarted and everything is up."""
        def asked():
            try:
                status = self.status()
            except (AssertionError, ValueError):  # the hub itself may be between two lives
                return False
            return status["restarting"] == 0 and status["ready"]
        self.until(asked, "all restarts are over", timeout)
        return self

    def children(self):
        """{program name: [pid, ...]} of the supervisor's children."""
        out = {}
        for child, name in children_of(self.supervisor()):
            out.setdefault(name, []).append(child)
        return out

    def supervisor(self):
        """Its pid, also behind a wrapper that did not exec."""
        return self.process.pid

    # ---- stopping ----

    def stop(self, sig=signal.SIGTERM, timeout=60):
        """Asks it to end and returns the exit status."""
        if self.process.poll() is None:
            os.kill(self.supervisor(), sig)
        return self.wait(timeout)

    def kill(self):
        """Ends the whole session, whatever state it is in; what its files say must not contradict its counters."""
        said = ""
        try:
            if self.proves and self.live and self.process.poll() is None and self.datadir.is_dir():
                said = "".join(run("-rundir", self.rundir, "verify", self.datadir, program="shardcapctl")[1:])
        finally:
            orphans = self.children() if self.process.poll() is None else {}
            for pid in [p for pids in orphans.values() for p in pids]:
                _kill(pid)
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            self.process.wait()
        self.test.assertNotIn("WRONG", said, self.log)  # no answer from one that was stopped or killed is none

    # ---- what came of it ----

    def files(self):
        return strictpcap.tree(self.datadir)

    def summary(self, files=True):
        """The summary, after it was held against the law of the counters and (files) against what lies on disk."""
        summary = json.loads(self.summary_file.read_text())
        test, packets, drops = self.test, summary["packets"], summary["drops"]
        test.assertEqual(sorted(summary), sorted(
            ["packets", "drops", "flows", "files", "bytes", "kernel", "seconds", "salvaged", "removed", "started", "ended"]))
        test.assertLessEqual(set(drops), TROUBLE | LIMITS)
        test.assertNotIn(0, drops.values())
        test.assertEqual(packets["delivered"], packets["saved"] + sum(drops.values()), self.log)
        test.assertEqual(packets["lost"], sum(n for cause, n in drops.items() if cause in TROUBLE))
        if files:
            found = self.files()
            test.assertEqual(summary["files"], len(found), self.log)
            test.assertEqual(packets["saved"], sum(len(f.records) for f in found.values()), self.log)
            test.assertEqual(summary["bytes"], sum((self.datadir / name).stat().st_size for name in found))
            self.verify("-summary", self.summary_file)
        return summary

    def verify(self, *args):
        """`shardcapctl verify`, a judge of its own, must agree; its output. Without arguments it asks the running one."""
        status, out, err = run("-rundir", self.rundir, "verify", *args, self.datadir, program="shardcapctl")
        self.test.assertEqual(status, 0, out + err + self.log)
        return out

    def leftovers(self):
        """Files left in staging."""
        out = []
        for staging in (self.datadir / ".staging", self.datadir.with_name(self.datadir.name + ".staging")):
            if staging.is_dir():
                out += [str(p) for p in staging.rglob("*") if p.is_file()]
        return out


def children_of(pid):
    """[(pid, program name)] of a process's children."""
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        pids = [int(p) for task in tasks for p in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    out = []
    for child in pids:
        try:
            name = pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name:
            out.append((child, os.path.basename(name)))
    return out


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def workdir(test):
    """A temporary directory that other users can pass through, removed at the end of the test."""
    work = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-test-"))
    work.chmod(0o755)
    test.addCleanup(shutil.rmtree, work, ignore_errors=True)
    return work


def copied_programs(work):
    """A directory below work with copies of all programs, which a test may replace."""
    programs = work / "bin"
    programs.mkdir()
    for program in PROGRAMS:
        shutil.copy(BIN / program, programs / program)
    return programs


def run(*args, timeout=60, env=None, program="shardcap", wrapper=(), stdin=None, cwd=None):
    """Runs a program to its end; (status, stdout, stderr)."""
    done = subprocess.run([*wrapper, str(BIN / program), *[str(a) for a in args]], capture_output=True, timeout=timeout,
                          env=clean_env(**(env or {})), input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
                          cwd=cwd, check=False)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if SANITIZER_WORDS.search(err):
        raise AssertionError(f"a sanitizer spoke up:\n{err}")
    return done.returncode, out, err


def read_savefile(test, path, *args, flows=None, timeout=120, **how):
    """Runs -read to its end with status 0; flows: their events are given. Returns the finished Family."""
    work = how.pop("work", None) or workdir(test)
    args = ["-read", str(path), *args]
    if flows is not None:
        events = work / "events.jsonl"
        events.write_text("".join(flow.event() for flow in flows))
        args.append(f"-uuid.events={events}")
    family = Family(test, *args, work=work, **how)
    status = family.wait(timeout)
    test.assertEqual(status, 0, family.log)
    return family


def missing_programs():
    return [name for name in PROGRAMS if not (BIN / name).exists()]


if missing_programs():
    sys.exit(f"not built: {', '.join(missing_programs())} in {BIN}")
