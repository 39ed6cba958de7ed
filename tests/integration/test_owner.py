# SPDX-License-Identifier: Apache-2.0
"""Files belong to the person who called: by hand, in a home of mode 0700, and under sudo."""
import os
import pathlib
import pwd
import unittest

import family
import need
import netns
import pcapgen as g
import traffic

IN_USER_NAMESPACE = True
NOBODY = 65534


class Owner(unittest.TestCase):
    def setUp(self):
        need.need("root")
        self.work = family.workdir(self)
        self.path = g.write(self.work / "in.pcap", g.pcap(g.Flow(1).conversation(g.START)))

    def owners(self, datadir):
        return {p.stat().st_uid for p in [datadir, *pathlib.Path(datadir).rglob("*")]}

    def home(self):
        """A directory of nobody's that nobody else may pass."""
        home = self.work / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        home.chmod(0o700)
        return home

    def test_a_user_in_a_home_of_mode_0700(self):
        home = self.home()
        run = family.Family(self, "-read", self.path, f"-datadir={home}/data", f"-rundir={home}/run",
                            f"-summary={home}/summary.json", datadir=home / "data", work=self.work,
                            wrapper=["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"])
        run.summary_file = home / "summary.json"
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)
        self.assertEqual(self.owners(home), {NOBODY})

    def test_sudo_gives_the_files_to_the_caller(self):
        home = self.home()
        run = family.Family(self, "-read", self.path, f"-datadir={home}/data", datadir=home / "data", work=self.work,
                            env={"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY), "SUDO_USER": "nobody"})
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)
        self.assertEqual(self.owners(home), {NOBODY})

    def test_root_writes_for_the_owner_of_the_datadir(self):
        data = self.work / "data"
        data.mkdir()
        os.chown(data, NOBODY, NOBODY)
        run = family.read_savefile(self, self.path, work=self.work)
        self.assertEqual(run.summary()["files"], 1)
        self.assertEqual(self.owners(data), {NOBODY})

    def test_a_named_user(self):
        run = family.read_savefile(self, self.path, "-user=nobody", work=self.work)
        self.assertEqual(self.owners(run.datadir), {NOBODY})

    def test_a_datadir_of_roots_own_is_written_by_a_root_without_power(self):
        (self.work / "data").mkdir()
        run = family.read_savefile(self, self.path, work=self.work)
        self.assertEqual(self.owners(run.datadir), {0})
        self.assertIn("-user", run.log)

    def test_nobody_gets_the_files_with_a_warning(self):
        """Root by itself, a new datadir, and no user shardcap."""
        try:
            owner = pwd.getpwnam("shardcap").pw_uid
        except KeyError:
            owner = NOBODY
        run = family.read_savefile(self, self.path, work=self.work)
        self.assertEqual(self.owners(run.datadir), {owner})
        self.assertEqual("files will belong to nobody" in run.log, owner == NOBODY)

    def test_an_unknown_user_is_an_error(self):
        run = family.Family(self, "-read", self.path, "-user=nosuchuser", work=self.work)
        self.assertNotEqual(run.wait(), 0)
        self.assertIn("nosuchuser", run.log.strip().splitlines()[-1])


class Powers(unittest.TestCase):
    def test_who_runs_as_whom_while_capturing(self):
        need.need("root", "netns")
        a, b = netns.pair(self)
        run = family.Family(self, "-interface=veth0", "-user=nobody", "-uuid.source=hash", namespace=a.name).ready()
        NET_RAW = 1 << 13
        for program, pids in run.children().items():
            for pid in pids:
                status = dict(line.split(":\t", 1) for line in
                              pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
                capabilities = int(status["CapEff"], 16) | int(status["CapPrm"], 16)
                self.assertEqual(status["NoNewPrivs"].strip(), "1", program)
                if program == "shardcap-dispatcher":
                    self.assertEqual(capabilities & ~NET_RAW, 0, program)
                else:
                    self.assertEqual(capabilities, 0, program)
                    self.assertEqual(set(status["Uid"].split()), {str(NOBODY)}, program)
                    self.assertEqual(status["Groups"].strip(), "", program)
        server = traffic.Server(self, a)
        traffic.fetch(b, "10.77.0.1", server.port, 1000)
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)


if __name__ == "__main__":
    unittest.main()
