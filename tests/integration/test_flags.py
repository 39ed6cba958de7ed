# SPDX-License-Identifier: Apache-2.0
"""Flags, environment, exit statuses and what is said when something is wrong."""
import json
import re
import shutil
import socket
import subprocess
import unittest

import family
import need
import netns
import pcapgen as g
from installed import ROOT

IN_USER_NAMESPACE = True


class Base(unittest.TestCase):
    def refused(self, status, pattern, *args, **how):
        """Ends with status; the last line on stderr fits the pattern."""
        code, _, err = family.run(*args, **how)
        self.assertEqual(code, status, err)
        lines = err.strip().splitlines()
        self.assertTrue(lines, "nothing was said")
        self.assertRegex(lines[-1], pattern)
        return err

    def savefile(self, work=None):
        return g.write((work or family.workdir(self)) / "in.pcap", g.pcap(g.Flow(1).conversation(g.START)))

    def read(self, *args, **how):
        """One-flow -read run with these arguments."""
        work = family.workdir(self)
        run = family.Family(self, "-read", self.savefile(work), *args, work=work, **how)
        run.wait()
        return run


class Usage(Base):
    def test_wrong_usage_is_status_2_and_names_the_flag(self):
        for pattern, *args in (
                (r"nosuchflag", "-nosuchflag"),
                (r"captureduration", "-captureduration", "fast"),
                (r"captureduration", "-captureduration=-1s"),
                (r"captureduration", "-captureduration"),
                (r"uuidwaitduration", "-uuidwaitduration=40s"),
                (r"anonymize\.ip", "-anonymize.ip=some"),
                (r"maxheap", "-maxheap=lots"),
                (r"maxheap", "-maxheap=99999999999999999999"),
                (r"shards", "-shards=0"), (r"shards", "-shards=65"), (r"shards", "-shards=x"),
                (r"uuid\.source", "-uuid.source=magic"),
                (r"uuid\.source", "-read=x", "-uuid.source=kernel"),
                (r"uuid\.source", "-read=x", "-uuid.source=eventsocket"),
                (r"interface", "-read=x", "-interface=lo"),
                (r"read", "-read=-", "-read=-"),
                (r"gzip", "-gzip=bz"),
                (r"stream", "-stream=perhaps"),
                (r"maxflows", "-maxflows=-3"),
                (r"log\.level", "-log.level=loud"), (r"log\.format", "-log.format=xml"),
                (r"seccomp", "-seccomp=maybe"),
                (r"ringsize", "-ringsize=0"),
                (r"stray", "stray")):
            with self.subTest(args=args):
                self.refused(2, pattern, *args)

    def test_nothing_is_created_when_a_setting_is_wrong(self):
        work = family.workdir(self)
        self.refused(2, "anonymize", f"-datadir={work}/data", f"-rundir={work}/run", "-anonymize.ip=x")
        self.assertEqual(list(work.iterdir()), [])

    def test_go_syntax(self):
        for args in (["-gzip", "none"], ["-gzip=none"], ["--gzip=none"], ["--gzip", "none"]):
            run = self.read(*args)
            self.assertEqual(run.process.returncode, 0, run.log)
            self.assertTrue(all(n.endswith(".pcap") for n in run.files()), args)
        for args, stream in ((["-stream"], True), (["-stream=false"], False), (["-stream=true"], True), (["--stream"], True)):
            code, out, err = family.run("-check", *args, *self.places())
            self.assertEqual(code, 0, err)
            self.assertRegex(out + err, rf"stream\W+{str(stream).lower()}")

    def places(self):
        work = family.workdir(self)
        return f"-datadir={work}/data", f"-rundir={work}/run"

    def test_help_names_every_flag_and_default(self):
        code, out, err = family.run("-help")
        self.assertEqual(code, 0, err)
        for flag in ("datadir captureduration uuidwaitduration flowtimeout maxheadersize sigtermwait stream maxflows "
                     "interface maxidleram maxheap anonymize.ip tcpinfo.eventsocket prometheusx.listen-address read "
                     "shards dispatchers cpus uuid.source uuid.kernel uuid.events uuid-prefix-file rundir stagingdir ringsize capturebuffer filter "
                     "anonymize.exempt gzip syncinterval mindiskfree maxdisk keep maxpackets maxfilesize sample dedup user summary check version help log.level log.format seccomp").split():
            self.assertRegex(out, rf"(?m)^\s*-{re.escape(flag)}\b", flag)

    def test_help_and_manual_name_the_same_statuses(self):
        told = family.run("-help")[1].split("\nExit status: ")[1]
        self.assertTrue(told.endswith(".\n"), told)  # the text is whole
        manual = (ROOT / "deploy/man/shardcap.8.in").read_text().split(".SH EXIT STATUS\n")[1].split("\n.SH ")[0]
        statuses = re.findall(r"^\.B (\d+)$", manual, re.M)
        self.assertEqual(statuses, re.findall(r"\b\d+\b", told))
        header = (ROOT / "shared/proto.h").read_text()
        self.assertEqual(set(statuses), set(re.findall(r"EXIT_[A-Z]+ = (\d+)", header)))

    def test_version(self):
        for program in family.PROGRAMS:
            code, out, err = family.run("-version", program=program)
            self.assertEqual(code, 0, (program, err))
            self.assertRegex(out, r"\d+\.\d+\.\d+ \(([0-9a-f]{7}|unknown)\)", program)
            if program in ("shardcap", "shardcap-shard"):
                self.assertRegex(out, r"\) gzip by zlib( libdeflate)?( ISA-L)?\n$", program)


class Environment(Base):
    def check(self, *args, **env):
        work = family.workdir(self)
        code, out, err = family.run("-check", f"-datadir={work}/data", f"-rundir={work}/run", *args, env=env)
        return code, out, err

    def test_flags_of_the_reference_read_their_own_name(self):
        code, out, err = self.check(CAPTUREDURATION="17s", ANONYMIZE_IP="netblock", MAXFLOWS="150")
        self.assertEqual(code, 0, err)
        for flag, value in (("captureduration", "17s"), ("anonymize.ip", "netblock"), ("maxflows", "150")):
            self.assertRegex(out, rf"{re.escape(flag)}\W+{value}")

    def test_the_command_line_wins_with_a_warning(self):
        code, out, err = self.check("-captureduration=18s", CAPTUREDURATION="17s")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"captureduration\W+18s")
        self.assertRegex(err, r"(?i)warn.*(CAPTUREDURATION|captureduration)")

    def test_a_bad_value_in_the_environment_is_an_error(self):
        code, _, err = self.check(CAPTUREDURATION="soon")
        self.assertEqual(code, 2)
        self.assertIn("CAPTUREDURATION", err)

    def test_flags_of_ours_read_a_name_with_a_prefix(self):
        code, out, err = self.check(SHARDCAP_SHARDS="3", SHARDCAP_GZIP="small")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"shards\W+3\b")
        self.assertRegex(out, r"gzip\W+small")

    def test_a_login_shell_sets_no_flag(self):
        _, plain, _ = self.check()
        _, dressed, err = self.check(USER="somebody", GZIP="-9", READ="x", SHARDS="9", FILTER="no", CHECK="1",
                                     SUMMARY="x", LOG_LEVEL="shout", HELP="1", VERSION="2", RUNDIR="/x")
        strip = lambda text: re.sub(r"/tmp/\S+", "", text)
        self.assertEqual(strip(plain), strip(dressed), err)


class Check(Base):
    def test_prints_the_configuration_and_the_worst_case(self):
        work = family.workdir(self)
        code, out, err = family.run("-check", f"-datadir={work}/data", f"-rundir={work}/run", "-maxheap=200MB")
        self.assertEqual(code, 0, err)
        for word in ("datadir", "captureduration", "30s", "memory"):
            self.assertIn(word, out)
        self.assertFalse((work / "data").exists())

    def test_says_whether_capturing_would_be_permitted(self):
        """By the file and the process that would do it; it is no matter of the configuration."""
        need.need("root")
        work = family.workdir(self)
        work.chmod(0o777)
        programs = work / "bin"
        programs.mkdir()
        for name in ("shardcap", "shardcap-dispatcher"):
            shutil.copy(family.BIN / name, programs / name)
        places = (f"-datadir={work}/data", f"-rundir={work}/run", "-prometheusx.listen-address=127.0.0.1:0")

        def ending(*flags, wrapper=()):
            done = subprocess.run([*wrapper, str(programs / "shardcap"), "-check", *places, *flags], capture_output=True,
                                  text=True, timeout=60, check=False, env=family.clean_env())
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.split("\nconfiguration ok\n")[1]
        user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        self.assertEqual(ending(), "")
        for wrapper in (user, ("setpriv", "--bounding-set=-net_raw")):
            self.assertRegex(ending(wrapper=wrapper), rf"CAP_NET_RAW is missing.* {programs}/shardcap-dispatcher\n$")
        self.assertEqual(ending(f"-read={self.savefile(work)}", wrapper=user), "")
        subprocess.run(["setcap", "cap_net_raw+p", str(programs / "shardcap-dispatcher")], check=True, timeout=20)
        self.assertEqual(ending(wrapper=user), "")
        (programs / "shardcap-dispatcher").unlink()
        self.assertIn("does not run", ending())

    def test_maxheap_is_lowered_to_half_of_the_machine_with_one_line(self):
        work = family.workdir(self)
        code, out, err = family.run("-check", f"-datadir={work}/data", f"-rundir={work}/run", "-maxheap=90000GB")
        self.assertEqual(code, 0, err)
        self.assertEqual(len(re.findall(r"(?i)maxheap.*lower|lower.*maxheap", err)), 1, err)
        self.assertNotIn("90000GB", out.split("maxheap", 1)[1].split("\n")[0])


class Surroundings(Base):
    def test_a_port_in_use(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            run = self.read(f"-prometheusx.listen-address=127.0.0.1:{port}")
            self.assertEqual(run.process.returncode, 1)
            self.assertIn(str(port), run.log.strip().splitlines()[-1])
            self.assertIn("prometheusx.listen-address", run.log.strip().splitlines()[-1])

    def test_read_opens_a_port_only_when_asked(self):
        run = self.read()
        self.assertNotIn("http://", run.log)
        run = self.read("-prometheusx.listen-address=127.0.0.1:0")
        self.assertIn("http://127.0.0.1:", run.log)

    def test_a_savefile_that_is_missing(self):
        work = family.workdir(self)
        self.refused(1, r"nowhere\.pcap", "-read", work / "nowhere.pcap", f"-datadir={work}/d", f"-rundir={work}/r")

    def test_an_events_file_that_is_missing(self):
        run = self.read("-uuid.events=/nonexistent/e")
        self.assertIn(run.process.returncode, (1, 2))
        self.assertIn("/nonexistent/e", run.log)

    def test_a_prefix_that_breaks_the_rule(self):
        work = family.workdir(self)
        for bad in ("../x", "a/b", "", "x" * 200, "a b", "a\n\n"):
            (work / "prefix").write_text(bad)
            run = self.read(f"-uuid-prefix-file={work}/prefix")
            self.assertEqual(run.process.returncode, 78, bad)
            self.assertIn("prefix", run.log)

    def test_a_rundir_whose_sockets_would_be_too_long(self):
        work = family.workdir(self)
        run = self.read(f"-rundir={work}/{'x' * 100}")
        self.assertEqual(run.process.returncode, 2)
        self.assertIn("rundir", run.log)

    def test_a_filter_that_does_not_compile(self):
        run = self.read("-filter", "no such expression (")
        self.assertIn(run.process.returncode, (1, 2))
        self.assertIn("filter", run.log.strip().splitlines()[-1])

    def test_a_relative_datadir_is_applied_once(self):
        work = family.workdir(self)
        run = family.Family(self, "-read", self.savefile(work), "-datadir=below/data", work=work, cwd=work)
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(len(list((work / "below/data").rglob("*.pcap.gz"))), 1)

    def test_few_file_descriptors(self):
        work = family.workdir(self)
        flows = g.bulk(work / "in.pcap", work / "events", 2000, 3)
        run = family.Family(self, "-read", work / "in.pcap", f"-uuid.events={work}/events", work=work, nofile=64)
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["files"], len(flows))

    def test_modes_less_the_umask(self):
        work = family.workdir(self)
        run = family.read_savefile(self, self.savefile(work), work=work, wrapper=["sh", "-c", 'umask 027; exec "$@"', "sh"])
        (name,) = run.files()
        path = run.datadir / name
        self.assertEqual(path.stat().st_mode & 0o777, 0o640)
        for parent in list(path.relative_to(run.datadir).parents)[:-1]:
            self.assertEqual((run.datadir / parent).stat().st_mode & 0o777, 0o750)

    def test_log_lines_as_json(self):
        run = self.read("-log.format=json", "-log.level=debug")
        self.assertEqual(run.process.returncode, 0, run.log)
        lines = [line for line in run.log.splitlines() if line.startswith("{")]
        self.assertTrue(lines)
        for line in lines:
            json.loads(line)

    def test_a_shard_started_by_hand_says_who_starts_it(self):
        for program in family.PROGRAMS[1:4]:
            code, _, err = family.run(program=program)
            self.assertNotEqual(code, 0)
            self.assertTrue(err.strip(), program)


class Twice(Base):
    def space(self):
        need.need("netns")
        space = netns.Namespace(self)
        space.ip("link", "add", "d0", "type", "veth", "peer", "name", "d1")
        space.ip("link", "set", "d0", "up")
        return space

    def test_a_second_instance_names_the_first(self):
        space = self.space()
        run = family.Family(self, "-interface=d0", namespace=space.name).ready()
        other = family.Family(self, "-interface=d0", f"-rundir={run.rundir}", namespace=space.name)
        self.assertEqual(other.wait(), 1)
        self.assertIn(str(run.supervisor()), other.log.strip().splitlines()[-1])
        self.assertEqual(run.stop(), 0, run.log)
        # and afterwards the place is free
        again = family.Family(self, "-interface=d0", f"-rundir={run.rundir}", namespace=space.name).ready()
        self.assertEqual(again.stop(), 0, again.log)

    def test_a_second_instance_in_the_same_datadir(self):
        space = self.space()
        run = family.Family(self, "-interface=d0", namespace=space.name).ready()
        other = family.Family(self, "-interface=d0", f"-datadir={run.datadir}", namespace=space.name)
        self.assertEqual(other.wait(), 1)
        self.assertIn("another shardcap writes below", other.log.strip().splitlines()[-1])
        self.assertEqual(run.stop(), 0, run.log)

    def test_an_interface_that_does_not_exist(self):
        need.need("netns")
        space = netns.Namespace(self)
        run = family.Family(self, "-interface=nosuch0", namespace=space.name)
        self.assertEqual(run.wait(), 1)
        self.assertIn("nosuch0", run.log)


class Permission(Base):
    def test_no_permission_to_capture(self):
        need.need("root")
        work = family.workdir(self)
        work.chmod(0o777)
        run = family.Family(self, work=work, wrapper=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                                     "--bounding-set=-net_raw", "--inh-caps=-all"])
        self.assertEqual(run.wait(), 1, run.log)
        last = run.log[-1500:]
        self.assertIn("CAP_NET_RAW", last)
        self.assertRegex(last, r"setcap|sudo")

    def test_reading_needs_no_permission(self):
        need.need("root")
        work = family.workdir(self)
        work.chmod(0o777)
        run = family.Family(self, "-read", self.savefile(work), work=work,
                            wrapper=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        self.assertEqual(run.wait(), 0, run.log)
        self.assertEqual(run.summary()["files"], 1)
        (name,) = run.files()
        self.assertEqual((run.datadir / name).stat().st_uid, 65534)


if __name__ == "__main__":
    unittest.main()
