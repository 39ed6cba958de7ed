# SPDX-License-Identifier: Apache-2.0
"""What each process of the family still is, as /proc tells it: user, capabilities, filter of system calls, open files;
and what it can still do: each is made to try, as code that took it over would.

As root and without, capturing and reading. Each role's filter by itself: tests/unit/shared/test_sandbox.c.
"""
import ctypes
import errno
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import unittest

import family
import need
import netns
import pcapgen as g
import systemcall
import traffic

NOBODY = 65534
NET_RAW = 1 << 13
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
ANONYMOUS = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]"}
NETLINK = {"shardcap-dispatcher": {0, 16}, "shardcap-hub": {4}, "shardcap-shard": {4}}  # route, generic; sock_diag
LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438  # the same number on every architecture


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


def descriptors(pid):
    """{number: what it is}; one that is closed meanwhile is left out."""
    out = {}
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            out[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:
            pass
    return out


def kind_of_socket(pid, number):
    """(family, protocol, own port) of a socket of another process; None once it is closed."""
    process = os.pidfd_open(pid)
    try:
        copy = LIBC.syscall(PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if copy < 0:
        if ctypes.get_errno() == errno.EBADF:
            return None
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=copy) as s:
        port = s.getsockname()[1] if s.family in (socket.AF_INET, socket.AF_INET6) else None
        return s.family, s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL), port


class Confined(unittest.TestCase):
    def confined(self, run):
        """Waits until every child has restricted itself, and returns {program: [pid, ...]}."""
        def asked():
            children = run.children()
            if sorted(children) != ["shardcap-dispatcher", "shardcap-hub", "shardcap-shard"]:
                return None
            done = all(status(pid)["Seccomp"] == "2" for pids in children.values() for pid in pids)
            return children if done else None
        return run.until(asked, "all children run under a filter of system calls")

    def check_status(self, run, uid, live, bounded=True):
        for program, pids in self.confined(run).items():
            for pid in pids:
                with self.subTest(program=program):
                    now = status(pid)
                    kept = NET_RAW if live and program == "shardcap-dispatcher" else 0
                    self.assertEqual(now["Name"], program[:15])
                    self.assertEqual(set(now["Uid"].split()) | set(now["Gid"].split()), {str(uid)})
                    self.assertEqual(now["Groups"], "")
                    self.assertEqual(int(now["CapEff"], 16), kept)
                    self.assertEqual(int(now["CapPrm"], 16), kept)
                    self.assertEqual(int(now["CapInh"], 16), 0)
                    self.assertEqual(int(now["CapAmb"], 16), 0)
                    if bounded:  # it takes CAP_SETPCAP to drop it; under NoNewPrivs nothing comes of it
                        self.assertEqual(int(now["CapBnd"], 16), 0)
                    self.assertEqual(now["NoNewPrivs"], "1")
                    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                        self.assertEqual(status(f"{pid}/task/{task.name}")["Seccomp"], "2")
                    self.check_no_core(pid)
        self.check_no_core(run.supervisor())

    def check_no_core(self, pid):
        """No core is written, nobody of the same user may look inside (the kernel gives /proc/PID of a process that is
        not dumpable to root), and what holds packets would not be in a core either."""
        self.assertRegex(pathlib.Path(f"/proc/{pid}/limits").read_text(), r"Max core file size +0 +0 ")
        self.assertEqual(os.stat(f"/proc/{pid}/environ").st_uid, 0)
        self.assertNotEqual(subprocess.run([*AS_NOBODY, "cat", f"/proc/{pid}/maps"], capture_output=True).returncode, 0)
        shared = re.findall(r"^\S+ \S+ \S+ \S+ \S+ +/memfd:(\S+).*?^VmFlags: ([^\n]*)",
                            pathlib.Path(f"/proc/{pid}/smaps").read_text(), re.M | re.S)
        self.assertGreater(len(shared), 2)
        self.assertEqual([name for name, flags in shared if "dd" not in flags.split()], [])

    def allowed(self, run, program, pid, number, what, savefile):
        """Is that an open file that the program should have?"""
        data, staging = str(run.datadir), f"{run.datadir}.staging"
        if what in ANONYMOUS or what.startswith("pipe:"):
            return True
        if what.startswith("socket:"):
            kind = kind_of_socket(pid, number)
            if kind is None or kind[0] == socket.AF_UNIX:
                return True
            family_of, protocol, port = kind
            if family_of == socket.AF_NETLINK:
                return protocol in NETLINK[program]
            if family_of == socket.AF_PACKET:
                return program == "shardcap-dispatcher" and run.live
            return program == "shardcap-hub" and port == run.url()[1]  # listening, or a connection it took
        if program == "shardcap-shard":
            return what in (data, staging, f"{data}/.staging") or \
                re.fullmatch(re.escape(data) + r"/\d{4}/\d\d/\d\d", what) is not None or what.startswith(staging + "/")
        return program == "shardcap-dispatcher" and what == savefile

    def check_descriptors(self, run, savefile=None):
        for program, pids in self.confined(run).items():
            for pid in pids:
                open_files = descriptors(pid)
                with self.subTest(program=program, open=open_files):
                    self.assertEqual(open_files.pop(0), "/dev/null")
                    self.assertEqual({open_files.pop(1), open_files.pop(2)}, {str(run.log_path)})
                    self.assertRegex(open_files.pop(3), r"^socket:")
                    wrong = {n: what for n, what in open_files.items()
                             if not self.allowed(run, program, pid, n, what, savefile)}
                    self.assertEqual(wrong, {})

    def serve_one_flow(self, run, a, b):
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 1000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)

    def until_eof(self, write_end, run, uid, savefile):
        """A savefile that does not end holds the family in the state that is looked at."""
        os.write(write_end, g.pcap(g.Flow(1).conversation(g.START)))
        self.check_status(run, uid, live=False, bounded="setpriv" not in run.command)
        self.check_descriptors(run, savefile)
        os.close(write_end)
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)

    def pipe(self):
        """(read end, write end, how /proc names it)"""
        read_end, write_end = os.pipe()
        return read_end, write_end, os.readlink(f"/proc/self/fd/{read_end}")


CHILDREN = ("shardcap-dispatcher", "shardcap-hub", "shardcap-shard")
READ, PLANT = os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW


class TakenOver(Confined):
    """The calls of an attacker, made by each process of a running family."""

    def child(self, run, program, but=None):
        """The pid of a program that has restricted itself and is not `but`."""
        def up():
            (pid,) = run.children().get(program) or (None,)
            try:
                return pid != but and run.get("/readyz")[0] == 200 and \
                    run.metric("pcap_muxer_interfaces_with_captures") == 1 and pid
            except OSError:  # the hub may be the one that is gone
                return False
        return run.until(up, f"{program} is up", timeout=60)

    def make(self, pid, *call):
        try:
            return systemcall.make(pid, *call)
        except PermissionError as e:
            self.skipTest(f"processes cannot be traced here: {e}")

    def open(self, pid, path, flags=READ):
        """The kernel's answer; what was opened is closed again."""
        answer = self.make(pid, "openat", systemcall.AT_FDCWD, str(path), flags, 0o600).result
        if answer >= 0:
            self.make(pid, "close", answer)
        return answer

    def memory(self, pid):
        """How /proc names the first mapping of a memfd."""
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            if "/memfd:" in line:
                return f"/proc/self/map_files/{line.split()[0]}"
        return self.fail("no shared memory is mapped")

    def check_files(self, run):
        """Whatever -seccomp is: nothing is opened outside its trees."""
        if not systemcall.landlock():
            self.skipTest("this kernel has no Landlock with renames across directories")
        for program in CHILDREN:
            pid = self.child(run, program)
            with self.subTest(program=program):
                self.assertEqual(self.make(pid, "getpid").result, pid)
                for path in ("/etc/passwd", run.work, run.log_path, "/"):
                    self.assertEqual(self.open(pid, path), -errno.EACCES, path)
        # What refuses is the confinement: the supervisor has none, and each child may what it is for.
        self.assertGreaterEqual(self.open(run.supervisor(), "/etc/passwd"), 0)
        self.assertGreaterEqual(self.open(self.child(run, "shardcap-shard"), run.datadir, READ | os.O_DIRECTORY), 0)
        self.assertGreaterEqual(self.open(self.child(run, "shardcap-hub"), "/proc/self/stat"), 0)
        self.assertGreaterEqual(self.open(self.child(run, "shardcap-dispatcher"), "/sys/class/net", READ), 0)

    def attacks(self, run, pid):
        return {"execve": ("execve", "/nonexistent", 0, 0), "socket": ("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
                "ptrace": ("ptrace", systemcall.SEIZE, run.supervisor(), 0, 0),
                "memory": ("openat", systemcall.AT_FDCWD, self.memory(pid), os.O_RDWR)}

    def check_calls(self, run, attacks):
        """-seccomp=kill: each attempt is the end of the process; libpcap itself may try a socket."""
        if family.SANITIZED:
            self.skipTest("under a sanitizer the filter only logs")
        for program in CHILDREN:
            pid = self.child(run, program)
            for attack in attacks:
                with self.subTest(program=program, attack=attack):
                    fate = self.make(pid, *self.attacks(run, pid)[attack])
                    if (program, attack) == ("shardcap-dispatcher", "socket"):
                        self.assertEqual(fate.result, -errno.EACCES)
                        continue
                    self.assertEqual(fate.killed, signal.SIGSYS)
                    pid = self.child(run, program, but=pid)

    def check_without_a_filter(self, run):
        """What needs no filter to fail; and that the checks of the filter see a difference."""
        planted = run.work / "planted"
        run.work.chmod(0o777)
        for program in CHILDREN:
            pid = self.child(run, program)
            with self.subTest(program=program):
                attacks = self.attacks(run, pid)
                if systemcall.landlock():
                    self.assertEqual(self.open(pid, planted, PLANT), -errno.EACCES)
                self.assertIn(self.make(pid, *attacks["memory"]).result, (-errno.EPERM, -errno.EACCES))
                self.assertEqual(self.make(pid, *attacks["ptrace"]).result, -errno.EPERM)
                self.assertGreaterEqual(self.make(pid, *attacks["socket"]).result, 0)
                self.assertIn(self.make(pid, *attacks["execve"]).result, (-errno.ENOENT, -errno.EACCES))
        self.assertFalse(planted.exists())
        self.assertGreaterEqual(self.open(run.supervisor(), planted, PLANT), 0)


class AsRoot(TakenOver):
    def setUp(self):
        need.need("root")

    def taken_over(self, *args):
        need.need("netns")
        if not systemcall.possible():
            self.skipTest("system calls are made in a foreign name on x86-64 only")
        a, _ = netns.pair(self)
        return family.Family(self, "-interface=veth0", "-user=nobody", "-shards=1", *args, namespace=a.name).ready()

    def test_a_process_taken_over(self):
        run = self.taken_over()
        self.check_files(run)
        self.check_calls(run, ("execve", "socket", "ptrace", "memory"))
        self.assertEqual(run.stop(), 0, run.log)

    def test_a_process_taken_over_without_a_filter(self):
        run = self.taken_over("-seccomp=none")
        self.check_files(run)
        self.check_without_a_filter(run)
        self.assertEqual(run.stop(), 0, run.log)

    def test_capturing(self):
        need.need("netns")
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-user=nobody", "-shards=2", namespace=a.name).ready()
        self.check_status(run, NOBODY, live=True)
        self.check_descriptors(run)
        self.serve_one_flow(run, a, b)

    def test_reading(self):
        read_end, write_end, name = self.pipe()
        run = family.Family(self, "-read=-", "-user=nobody", "-shards=2", stdin=read_end)
        os.close(read_end)
        self.until_eof(write_end, run, NOBODY, name)

    def test_a_root_without_power(self):
        work = family.workdir(self)
        (work / "data").mkdir()
        read_end, write_end, name = self.pipe()
        run = family.Family(self, "-read=-", stdin=read_end, work=work)
        os.close(read_end)
        self.until_eof(write_end, run, 0, name)

    def test_the_filter_can_be_left_out(self):
        """Also shows that the checks above see a difference."""
        read_end, write_end, _ = self.pipe()
        run = family.Family(self, "-read=-", "-seccomp=none", stdin=read_end)
        os.close(read_end)
        children = run.until(lambda: len(run.children()) == 3 and run.children(), "three programs run")
        for pids in children.values():
            for pid in pids:
                self.assertEqual(status(pid)["Seccomp"], "0")
        os.close(write_end)
        self.assertNotEqual(run.wait(), None)


class Rootless(TakenOver):
    """By the file capability of a copy of the programs, as any user."""

    def setUp(self):
        need.need("root")  # to give the capability, not to run
        self.work = family.workdir(self)
        self.home = self.work / "home"
        self.home.mkdir()
        os.chown(self.home, NOBODY, NOBODY)

    def programs(self):
        copy = self.work / "bin"
        shutil.copytree(family.BIN, copy)
        capability = struct.pack("<IIIII", 0x02000000, NET_RAW, 0, 0, 0)  # linux/capability.h, revision 2: +p, not +e
        try:
            os.setxattr(copy / "shardcap-dispatcher", "security.capability", capability)
        except OSError as e:
            self.skipTest(f"file capabilities cannot be given in {copy}: {e.strerror}")
        probe = subprocess.run([*AS_NOBODY, str(copy / "shardcap-dispatcher"), "-version"], capture_output=True, check=False)
        if probe.returncode != 0:
            self.skipTest(f"programs in {copy} cannot be run by another user")
        return copy

    def start(self, *args, privileges=(), **how):
        run = family.Family(self, *args, f"-datadir={self.home}/data", f"-rundir={self.home}/run",
                            f"-summary={self.home}/summary.json", datadir=self.home / "data", work=self.work,
                            wrapper=[*AS_NOBODY, *privileges], **how)
        run.summary_file = self.home / "summary.json"
        return run

    def test_capturing(self):
        need.need("netns")
        a, b = netns.pair(self)
        run = self.start("-interface=veth0", programs=self.programs(), namespace=a.name).ready()
        self.check_status(run, NOBODY, live=True, bounded=False)
        self.check_descriptors(run)
        self.serve_one_flow(run, a, b)

    def test_no_new_privileges_and_a_file_capability(self):
        """Under NoNewPrivileges (systemd) a file capability does nothing: the end says so; an ambient one works."""
        need.need("netns")
        a, b = netns.pair(self)
        run = self.start("-interface=veth0", programs=self.programs(), namespace=a.name, privileges=["--no-new-privs"])
        self.assertNotIn(run.wait(), (0, None), run.log)
        self.assertRegex(run.log, r"CAP_NET_RAW|cap_net_raw", run.log)
        ambient = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--no-new-privs"]
        run = self.start("-interface=veth0", namespace=a.name, privileges=ambient).ready()
        self.check_status(run, NOBODY, live=True, bounded=False)
        self.serve_one_flow(run, a, b)

    def test_a_process_taken_over(self):
        need.need("netns")
        if not systemcall.possible():
            self.skipTest("system calls are made in a foreign name on x86-64 only")
        a, _ = netns.pair(self)
        run = self.start("-interface=veth0", programs=self.programs(), namespace=a.name).ready()
        self.check_files(run)
        self.check_calls(run, ("execve",))
        self.assertEqual(run.stop(), 0, run.log)

    def test_reading(self):
        read_end, write_end, name = self.pipe()
        run = self.start("-read=-", stdin=read_end)
        os.close(read_end)
        self.until_eof(write_end, run, NOBODY, name)


if __name__ == "__main__":
    unittest.main()
