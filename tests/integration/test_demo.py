# SPDX-License-Identifier: Apache-2.0
"""What stands behind `make demo` and `make run`."""
import os
import re
import subprocess
import unittest

import family
from installed import ROOT
from need import need


def script(name, *args, user=(), **env):
    done = subprocess.run([*user, "bash", str(ROOT / "tests/lib" / name), *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=110, check=False,
                          env=family.clean_env(**env))
    return done.returncode, done.stdout


class Demo(unittest.TestCase):
    def test_51_flows_and_nothing_left_but_their_files(self):
        need("userns", "curl", "tcpdump")
        work = family.workdir(self)
        work.chmod(0o777)
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
        if user and subprocess.run([*user, "unshare", "-Urn", "true"], check=False, timeout=20).returncode != 0:
            user = ()  # only root may here
        status, said = script("demo.sh", family.BIN, user=user, TMPDIR=str(work))
        self.assertEqual(status, 0, said)
        self.assertRegex(said, r"\n  saved +51\n")
        self.assertRegex(said, r"\n  lost +0\n")
        self.assertRegex(said, r"\n  \.\. 51 files, \d+ bytes in all\n")
        packets = re.findall(r"^[0-9:.]+ IP 10\.9\.8\.\d\.\d+ > .* Flags \[(\S+)\]", said, re.M)
        self.assertGreater(len(packets), 8)
        self.assertEqual((packets[0], packets[1]), ("S", "S."))
        (left,) = work.iterdir()
        self.assertEqual([p.name for p in left.iterdir()], ["data"])
        self.assertEqual(len([p for p in left.rglob("*") if p.is_file()]), 51)


class Run(unittest.TestCase):
    """capture.sh PROGRAM ..: what `make run` starts."""

    def setUp(self):
        need("root")
        self.work = family.workdir(self)
        self.work.chmod(0o755)
        self.nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        tools = self.work / "tools"
        tools.mkdir()
        for name in ("bash", "id", "setpriv"):
            (tools / name).symlink_to(f"/usr/bin/{name}")
        self.tools = tools

    def test_without_sudo_it_says_what_helps(self):
        status, said = script("capture.sh", family.BIN / "shardcap", "-interface=lo", user=self.nobody, PATH=str(self.tools))
        self.assertEqual(status, 1, said)
        self.assertIn(f"setcap cap_net_raw+p {family.BIN}/shardcap-dispatcher", said)

    def test_sudo_is_for_captures_only(self):
        (self.tools / "sudo").write_text('#!/bin/bash\necho "as root: $*"\n')
        (self.tools / "sudo").chmod(0o755)
        program = family.BIN / "shardcap"
        status, said = script("capture.sh", program, "-interface=lo", user=self.nobody, PATH=str(self.tools))
        self.assertEqual((status, said.splitlines()[-1]), (0, f"as root: {program} -interface=lo"))
        status, said = script("capture.sh", program, "-version", user=self.nobody, PATH=str(self.tools))
        self.assertEqual(status, 0)
        self.assertNotIn("as root", said)


if __name__ == "__main__":
    unittest.main()
