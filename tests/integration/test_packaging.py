# SPDX-License-Identifier: Apache-2.0
"""What `make install` and `make deb` put where, and whether the tools that judge such things are content."""
import os
import pathlib
import re
import shutil
import unittest

import booted
import family
from installed import ROOT, install, run
from need import need

CHILDREN = ("shardcap-dispatcher", "shardcap-hub", "shardcap-shard")
# One conversation, a byte each way at a time, until it has been enough.
TALK = """
import os, socket, subprocess, time
echo = "import socket; s = socket.create_server(('10.9.0.2', 7001)); print(flush=True); c = s.accept()[0]\\n" \\
       "while b := c.recv(1): c.send(b)"
server = subprocess.Popen(["ip", "netns", "exec", "peer", "python3", "-c", echo], stdout=subprocess.PIPE)
server.stdout.readline()
s = socket.create_connection(("10.9.0.2", 7001))
n = 0
while not os.path.exists("/run/enough"):
    s.send(b"x")
    n += len(s.recv(1))
    time.sleep(0.02)
s.close()
print("sent", n)
"""


def setUpModule():
    if family.SANITIZED:
        raise unittest.SkipTest("what is installed and packaged is the plain build")


class Install(unittest.TestCase):
    def setUp(self):
        self.tree = family.workdir(self)

    def test_tree(self):
        install(self.tree)
        files = {str(p.relative_to(self.tree)) for p in self.tree.rglob("*") if p.is_file()}
        for name in family.PROGRAMS:
            self.assertIn(f"usr/bin/{name}", files)
        self.assertLessEqual({"etc/default/shardcap", "usr/lib/systemd/system/shardcap.service",
                              "usr/lib/sysusers.d/shardcap.conf", "usr/lib/tmpfiles.d/shardcap.conf",
                              "usr/share/man/man8/shardcap.8", "usr/share/doc/shardcap/examples/shardcap-external.conf"}, files)
        self.assertFalse([f for f in files if not f.startswith(("usr/", "etc/"))])

    def test_another_prefix_is_named_by_the_units(self):
        install(self.tree, "/opt/shardcap")
        unit = (self.tree / "opt/shardcap/lib/systemd/system/shardcap.service").read_text()
        self.assertIn("ExecStart=/opt/shardcap/bin/shardcap\n", unit)
        for program in re.findall(r"^Exec\w+=(/\S+)", unit, re.M):  # those of others stay where they are
            self.assertTrue(pathlib.Path(program).exists() or (self.tree / program[1:]).exists(), program)
        self.assertIn("EnvironmentFile=-/opt/shardcap/etc/default/shardcap\n", unit)
        self.assertTrue((self.tree / "opt/shardcap/etc/default/shardcap").exists())

    def test_settings_of_the_administrator_stay(self):
        install(self.tree)
        settings = self.tree / "etc/default/shardcap"
        settings.write_text("INTERFACE=eth7\n")
        install(self.tree)
        self.assertEqual(settings.read_text(), "INTERFACE=eth7\n")

    def test_variables_of_the_settings_file_exist(self):
        known = run(family.BIN / "shardcap", "-help")[1].split()
        named = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / "deploy/systemd/default").read_text(), re.M)
        self.assertGreater(len(named), 5)
        for variable in named + re.findall(r"^Environment=([A-Z_]+)=",
                                           (ROOT / "deploy/systemd/shardcap.service").read_text(), re.M):
            self.assertIn(variable, known)


class Manuals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("man")

    def setUp(self):
        self.tree = install(family.workdir(self))
        self.pages = sorted(self.tree.glob("usr/share/man/man*/*"))

    def test_no_warnings(self):
        self.assertGreater(len(self.pages), 3)
        for page in self.pages:
            other = re.fullmatch(r"\.so (man\d/\S+)\n", page.read_text())
            if other:
                self.assertIn(self.tree / "usr/share/man" / other.group(1), self.pages)
                continue
            status, said = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page,
                               env=dict(os.environ, LC_ALL="C.UTF-8", MANROFFSEQ="", MANWIDTH="80"))
            self.assertEqual(status, 0, said)
            self.assertNotIn("warning", said)

    def test_every_flag_is_there(self):
        text = run("man", "-l", self.tree / "usr/share/man/man8/shardcap.8",
                   env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="200"))[1]
        flags = re.findall(r"^  (-[a-z.-]+)", run(family.BIN / "shardcap", "-help")[1], re.M)
        self.assertGreater(len(flags), 30)
        for flag in flags:
            self.assertRegex(text, rf"(?m)^\s+{re.escape(flag)}( |$)")


class Units(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("systemd-analyze")

    def test_verify(self):
        """Against a root that holds the programs they name, so that a wrong path is seen, too."""
        tree = install(family.workdir(self))
        for unit in sorted(tree.glob("usr/lib/systemd/system/*.service")):
            name = unit.name.replace("@.", "@0.")
            (tree / "check").mkdir(exist_ok=True)
            copy = tree / "check" / name
            copy.write_text(unit.read_text().replace("/usr/bin/", f"{tree}/usr/bin/"))
            status, said = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy)
            self.assertEqual((status, said), (0, ""), unit.name)

    def test_exposure(self):
        status, said = run("systemd-analyze", "security", "--offline=true", "--threshold=20",
                           ROOT / "deploy/systemd/shardcap.service")
        self.assertEqual(status, 0, said[-200:])
        self.assertLessEqual(float(re.search(r"Overall exposure level.*: ([0-9.]+)", said).group(1)), 2.0)


class Deb(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("dh")
        cls.work = family.workdir(type("Class", (), {"addCleanup": cls.addClassCleanup}))
        cls.version = re.search(r"^VERSION := (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1)
        status, said = run("tests/lib/deb.sh", cls.version, "0123abc", cls.work / "deb",
                           env=dict(os.environ, MAKEFLAGS="-j2"))
        assert status == 0, said
        cls.package = next((cls.work / "deb").glob(f"shardcap_{cls.version}_*.deb"))

    def test_lintian_finds_nothing(self):
        need("lintian")
        self.assertTrue((ROOT / "deploy/debian/changelog").read_text().startswith(f"shardcap ({self.version}) "))
        changes = list((self.work / "deb").glob("*.changes"))
        self.assertEqual(len(changes), 1)
        status, said = run("lintian", "--allow-root", "--fail-on=error,warning", "--display-level=>=warning", *changes)
        self.assertEqual((status, said), (0, ""))

    def test_content(self):
        self.assertEqual(run("dpkg-deb", "-x", self.package, self.work / "x")[0], 0)
        self.assertIn("0123abc", run(self.work / "x/usr/bin/shardcap", "-version")[1])
        documents = self.work / "x/usr/share/doc/shardcap"
        for name in ("README.md", "deploy/README.md", "examples/shardcap-external.conf", "examples/rules.yml"):
            self.assertTrue((documents / name).is_file(), name)
        self.assertFalse(list((self.work / "x").rglob("*.service.d")))  # what is an example is not in force
        scripts = self.work / "scripts"
        self.assertEqual(run("dpkg-deb", "-e", self.package, scripts)[0], 0)
        for word in ("systemd-sysusers", "systemd-tmpfiles", "shardcap.service"):
            self.assertIn(word, (scripts / "postinst").read_text())
        self.assertIn("/etc/default/shardcap", (scripts / "conffiles").read_text())

    def repacked(self, version, change=lambda tree: None):
        """The package under another version, with other files of the same programs."""
        tree, out = self.work / version, self.work / f"shardcap_{version}.deb"
        self.assertEqual(run("dpkg-deb", "-R", self.package, tree)[0], 0)
        control = tree / "DEBIAN/control"
        control.write_text(control.read_text().replace(f"Version: {self.version}\n", f"Version: {version}\n"))
        change(tree)
        self.assertEqual(run("dpkg-deb", "-b", tree, out)[0], 0)
        return out

    def test_install_upgrade_remove(self):
        """An upgrade loses nothing of a service that runs; one that brings another unit restarts it."""
        need("root", "systemd", "netns")

        def another_unit(tree):
            unit = tree / "lib/systemd/system/shardcap.service"
            unit.write_text(unit.read_text().replace("LimitCORE=0\n", "LimitCORE=0\nLimitNOFILE=4096\n"))
        debs = self.work / "installed/debs"
        debs.mkdir(parents=True)
        shutil.copy(self.package, debs / "1.deb")
        shutil.copy(self.repacked("9.0"), debs / "2.deb")
        shutil.copy(self.repacked("9.1", another_unit), debs / "3.deb")
        (debs / "talk.py").write_text(TALK)
        policy = self.work / "installed/usr/sbin/policy-rc.d"  # whatever this machine's is
        policy.parent.mkdir(parents=True)
        policy.write_text("#!/bin/sh\nexit 0\n")
        policy.chmod(0o755)
        s = booted.Booted(self, self.work / "installed", self.work)
        s.wire()
        dpkg = ("dpkg", "--no-triggers", "--force-unsafe-io")  # manuals need no index here

        def pids(program):
            return s.run("pgrep", "-f", f"^{program}").stdout.split()
        s.run(*dpkg, "-i", "/debs/1.deb")
        self.assertEqual(s.show("ActiveState"), "active", s.journal())
        s.run("sh", "-c", "echo INTERFACE=veth0 >> /etc/default/shardcap; echo FLOWTIMEOUT=3s >> /etc/default/shardcap; "
                          "echo SHARDCAP_SHARDS=2 >> /etc/default/shardcap; systemctl restart shardcap")
        main, before = s.show("MainPID"), {name: pids(name) for name in CHILDREN}
        s.run("sh", "-c", "python3 /debs/talk.py > /run/talk 2>&1 &")
        family.until(lambda: s.metric("shardcap_packets_consumed_total") > 20, "packets", 30, s.journal)
        said = s.run(*dpkg, "-i", "/debs/2.deb")
        self.assertIn("the service goes on in the new programs", said.stdout + said.stderr)
        self.assertEqual((s.show("MainPID"), s.show("NRestarts")), (main, "0"))
        for name, old in before.items():
            self.assertFalse(set(old) & set(pids(name)), name)
        for pid in [main] + [pid for name in CHILDREN for pid in pids(name)]:
            s.run("test", f"/proc/{pid}/exe", "-ef", s.run("readlink", f"/proc/{pid}/exe").stdout.strip())
        s.run("sh", "-c", "touch /run/enough; while ! grep -q sent /run/talk; do sleep 0.1; done")
        family.until(lambda: len(s.files()) == 1, "one file", 60, s.journal)  # one conversation from before to after
        self.assertEqual(s.run("shardcapctl", "verify", "/var/lib/shardcap/data").returncode, 0)
        self.assertEqual(sum(s.metric(f"shardcap_{n}_total") for n in ("bus_lost_events", "arena_lost")), 0)

        s.run("sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d")
        before = pids("shardcap")
        s.run(*dpkg, "-i", "/debs/1.deb")  # where packages may not touch services, this one does not
        self.assertEqual(pids("shardcap"), before)
        s.run("sh", "-c", "printf '#!/bin/sh\\nexit 104\\n' > /usr/sbin/policy-rc.d")
        said = s.run(*dpkg, "-i", "/debs/3.deb")
        self.assertIn("restarting the service", said.stdout + said.stderr)
        self.assertEqual((s.show("ActiveState"), s.show("LimitNOFILE")), ("active", "4096"))
        self.assertNotEqual(s.show("MainPID"), main)

        main = s.show("MainPID")
        s.run(*dpkg, "-r", "shardcap")
        self.assertEqual(s.run("pgrep", "-f", "^shardcap", check=False).stdout, "")
        self.assertEqual(len(s.files()), 1)  # what was captured stays


if __name__ == "__main__":
    unittest.main()
