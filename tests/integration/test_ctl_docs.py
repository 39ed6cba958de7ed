# SPDX-License-Identifier: Apache-2.0
"""-help, manual pages, README and bash completion tell of the same commands, options, topics and fields."""
import json
import os
import re
import shlex
import signal
import subprocess
import time
import unittest

import family
import need
import netns
import pcapgen
import traffic
from installed import ROOT, install

IN_USER_NAMESPACE = True


def ctl(*args):
    code, out, err = family.run(*args, program="shardcapctl")
    assert code == 0, err
    return out


def commands():
    found = re.findall(r"(?m)^  ([a-z]+)\b", ctl("help").split("Commands:\n")[1])
    assert len(found) > 10 and found[-2:] == ["version", "help"], found
    return found[:-2]


def options(command):
    """{name: value or None} of a command's own help."""
    out = {}
    for name, value in re.findall(r"(?m)^  -([a-z-]+)(?: (\S+))?(?:  .*)?$", ctl(command, "-help")):
        out[name] = value or None
    return out


def rendered(page):
    need.need("man")
    text = subprocess.run(["man", "--no-hyphenation", "--no-justification", "-l", str(page)], capture_output=True, text=True,
                          check=True, timeout=60,
                          env=dict(os.environ, LC_ALL="C.UTF-8", MANWIDTH="200", MANPAGER="cat")).stdout
    return re.sub(r".\x08", "", text)


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = family.workdir(type("Class", (), {"addCleanup": cls.addClassCleanup}))
        cls.tree = install(work) / "usr/share"

    def test_help_has_options_and_statuses(self):
        for command in commands():
            text = ctl(command, "-help")
            self.assertEqual(text, ctl("help", command))
            self.assertRegex(text, r"(?m)^exit status: 0.*; 2 wrong usage$", command)
            usage = text.splitlines()[0]
            self.assertEqual(set(re.findall(r"\[-([a-z-]+)", usage)) - {"rundir"}, set(options(command)), command)
            self.assertLessEqual(max(map(len, text.splitlines())), 124, command)
            # What is printed for programs, or already is.
            if command not in ("cat", "record"):
                self.assertIn("json", options(command), command)

    def test_an_unknown_command_is_told_which_there_are(self):
        for words in (("stat",), ("help", "stat")):
            code, out, err = family.run(*words, program="shardcapctl")
            self.assertEqual((code, out), (2, ""))
            self.assertIn("there is no command stat", err)
            self.assertEqual(re.search("there are: (.*)", err).group(1).split(), commands())

    def test_manual_page(self):
        text = rendered(self.tree / "man/man1/shardcapctl.1")
        body = text.split("\nCOMMANDS\n")[1].split("\nEXIT STATUS\n")[0]
        sections = dict(zip(re.findall(r"(?m)^   (\S+)$", body), re.split(r"(?m)^   \S+$", body)[1:]))
        self.assertEqual(list(sections), commands())
        for command, section in sections.items():
            have = dict(re.findall(r"(?m)^       -([a-z-]+)(?: (\S+))?(?:  .*)?$", section))
            self.assertEqual({k: v or None for k, v in have.items()}, options(command), command)
            self.assertIn("Exit status: 0", section)

    def test_readme(self):
        section = (ROOT / "README.md").read_text().split("\n## shardcapctl\n")[1].split("\n## ")[0]
        rows = re.findall(r"(?m)^\| (.*?) \| ", section)
        for command in commands():
            mine = [row for row in rows if re.search(rf"`{command}\b", row)]
            self.assertTrue(mine, command)
            named = set(re.findall(r"-([a-z][a-z-]*)", " ".join(mine)))
            self.assertLessEqual(named, set(options(command)), command)

    # ---- completion ----

    def complete(self, line, program="shardcapctl", cwd=None, env=None):
        """What TAB offers at the end of the line, asked of a real bash."""
        words = shlex.split(line) + ([""] if line.endswith(" ") else [])
        words[0] = str(family.BIN / words[0])
        script = f"""source {shlex.quote(str(self.tree / "bash-completion/completions" / program))}
COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}
COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}
_{program}; printf '%s\\n' "${{COMPREPLY[@]}}"; complete -p {program} >&2"""
        done = subprocess.run(["bash", "--norc", "-uc", script], capture_output=True, text=True, timeout=60, cwd=cwd,
                              env=family.clean_env(**(env or {})), check=False)
        self.assertEqual((done.returncode, done.stderr), (0, f"complete -o filenames -F _{program} {program}\n"), line)
        return set(done.stdout.split())

    def test_completion_of_commands_and_options(self):
        self.assertEqual(self.complete("shardcapctl "), set(commands()) | {"help", "version"})
        self.assertEqual(self.complete("shardcapctl re"), {"record", "replay", "restart"})
        self.assertEqual(self.complete("shardcapctl -rundir /x re"), {"record", "replay", "restart"})
        self.assertEqual(self.complete("shardcapctl help sh"), {"show"})
        self.assertEqual(self.complete("shardcapctl -"), {"-rundir"})
        for command in commands():
            self.assertEqual(self.complete(f"shardcapctl {command} -"),
                             {f"-{name}" for name in options(command)} | {"-rundir", "-help"}, command)

    def test_completion_of_values(self):
        work = family.workdir(self)
        for name in ("a.jsonl", "b.pcap"):
            (work / name).write_text("")
        day = work / "data/2024/11/19"
        day.mkdir(parents=True)
        for name in ("host_1.pcap.gz", "host_1.1.pcap.gz", "other.pcap"):
            (day / name).write_text("")
        self.assertEqual(self.complete("shardcapctl inject -f ", cwd=work), {"a.jsonl", "b.pcap", "data"})
        self.assertEqual(self.complete("shardcapctl inject --from-pcap b", cwd=work), {"b.pcap"})
        self.assertEqual(self.complete("shardcapctl inject -rate ", cwd=work), set())
        self.assertEqual(self.complete("shardcapctl show -datadir d", cwd=work), {"data"})
        self.assertEqual(self.complete("shardcapctl show -datadir data h", cwd=work), {"host_1"})
        self.assertEqual(self.complete("shardcapctl cat ", cwd=work, env={"DATADIR": "data"}),
                         {"host_1", "other", "a.jsonl", "b.pcap", "data"})
        self.assertEqual(self.complete("shardcapctl watch flow."), {"flow.saved", "flow.lost"})
        self.assertEqual(self.complete("shardcapctl restart "), {"all", "hub", "dispatcher"})
        self.assertEqual(self.complete("shardcapctl verify ", cwd=work), {"data"})

    def test_completion_of_shardcap(self):
        text = family.run("-help")[1]
        flags = set(re.findall(r"(?m)^  (-[a-z][a-z0-9.-]*)", text))
        self.assertGreater(len(flags), 20)
        self.assertEqual(self.complete("shardcap -", "shardcap"), flags)
        work = family.workdir(self)
        (work / "x.pcap").write_text("")
        self.assertEqual(self.complete("shardcap -read x", "shardcap", cwd=work), {"x.pcap"})
        self.assertIn("lo", self.complete("shardcap --interface ", "shardcap"))


class Events(unittest.TestCase):
    """Every topic and field that is really sent stands in shardcap-events(7), and every topic of it is really sent."""

    def test_topics_and_fields(self):
        need.need("netns", "man")
        text = rendered(ROOT / "deploy/man/shardcap-events.7")
        entries = {}
        for head, body in re.findall(r"(?m)^       ((?:uuid|flow|shard)\.\S.*|stats.*)\n((?:              .*\n)+)",
                                     text.split("\nMESSAGES\n")[1].split("\nEXAMPLES\n")[0]):
            for topic in re.findall(r"[a-z]+\.[a-z]+|^stats", head):
                entries[topic] = head + body
        a, b = netns.pair(self)
        server = traffic.Server(self, a)
        f = family.Family(self, "-interface=veth0", "-shards=1", "-uuid.source=none", "-uuidwaitduration=1s",
                          "-flowtimeout=1s", "-captureduration=1s", namespace=a.name).ready()
        path = f.work / "watched.jsonl"
        with open(path, "wb") as out:
            watch = subprocess.Popen([str(family.BIN / "shardcapctl"), "-rundir", str(f.rundir), "watch", "-json"],
                                     stdout=out, env=family.clean_env())
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)

        def messages():
            """{topic: [object, ...]} of what has come whole."""
            have = {}
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    message = json.loads(line)
                    have.setdefault(message["topic"], []).append(message["event"])
            return have
        f.until(lambda: f.metric("shardcap_watchers") == 1, "the watcher is connected")
        end = traffic.fetch(b, "10.77.0.1", server.port, 1000)
        lines = pcapgen.event_line("named_1", time.time_ns(), "10.77.0.1", server.port, *end)
        lines += '{"Event":1,"Timestamp":"2024-11-19T16:51:48Z","UUID":"named_1","ID":null}\n'
        code, out, err = family.run("-rundir", f.rundir, "inject", program="shardcapctl", stdin=lines.encode())
        self.assertEqual(code, 0, out + err)
        traffic.fetch(b, "10.77.0.1", server.port, 1000)  # nobody names this one
        f.until(lambda: {"flow.saved", "flow.lost"} <= set(messages()), "both ends of a flow")
        os.kill(f.children()["shardcap-shard"][0], signal.SIGKILL)
        wanted = {"uuid.open", "uuid.close", "flow.saved", "flow.lost", "shard.up", "shard.down", "stats"}
        f.until(lambda: set(messages()) >= wanted, "one of each")
        self.assertEqual(set(messages()), wanted)
        self.assertEqual(set(entries), wanted)
        general = text.split("\nEVENTS\n")[1].split("\nREQUESTS\n")[0]
        for topic, objects in messages().items():
            where = entries[topic] + (general if topic.startswith("uuid.") else "")
            for field in {key for o in objects for key in o}:
                self.assertRegex(where, rf"\b{field}\b", topic)


if __name__ == "__main__":
    unittest.main()
