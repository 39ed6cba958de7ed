# SPDX-License-Identifier: Apache-2.0
"""What `make install` and `make deb` put where, and whether the tools that judge such things are content."""
import os
import re
import shutil
import unittest

import family
from installed import ROOT, install, run
from need import need


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
                              "usr/share/man/man8/shardcap.8"}, files)
        self.assertFalse([f for f in files if not f.startswith(("usr/", "etc/"))])

    def test_another_prefix_is_named_by_the_units(self):
        install(self.tree, "/opt/shardcap")
        unit = (self.tree / "opt/shardcap/lib/systemd/system/shardcap.service").read_text()
        self.assertIn("ExecStart=/opt/shardcap/bin/shardcap\n", unit)
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
    def test_lintian_finds_nothing(self):
        need("dh", "lintian")
        work = family.workdir(self)
        version = re.search(r"^VERSION := (.*)$", (ROOT / "Makefile").read_text(), re.M).group(1)
        self.assertTrue((ROOT / "deploy/debian/changelog").read_text().startswith(f"shardcap ({version}) "))
        status, said = run("tests/lib/deb.sh", version, "0123abc", work / "deb", env=dict(os.environ, MAKEFLAGS="-j2"))
        self.assertEqual(status, 0, said)
        changes = list((work / "deb").glob("*.changes"))
        self.assertEqual(len(changes), 1)
        status, said = run("lintian", "--allow-root", "--fail-on=error,warning", "--display-level=>=warning", *changes)
        self.assertEqual((status, said), (0, ""))
        package = next((work / "deb").glob(f"shardcap_{version}_*.deb"))
        self.assertEqual(run("dpkg-deb", "-x", package, work / "x")[0], 0)
        self.assertIn("0123abc", run(work / "x/usr/bin/shardcap", "-version")[1])
        scripts = work / "scripts"
        self.assertEqual(run("dpkg-deb", "-e", package, scripts)[0], 0)
        for word in ("systemd-sysusers", "systemd-tmpfiles", "shardcap.service"):
            self.assertIn(word, (scripts / "postinst").read_text())
        self.assertIn("/etc/default/shardcap", (scripts / "conffiles").read_text())
        shutil.rmtree(work / "deb")


if __name__ == "__main__":
    unittest.main()
