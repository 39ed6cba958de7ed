# SPDX-License-Identifier: Apache-2.0
"""Alert rules, dashboard, Dockerfile and manifests say the same as the programs."""
import json
import re
import shutil
import subprocess
import sys
import unittest

import family
from installed import ROOT, run
from need import need

DEPLOY = ROOT / "deploy"
WORD = re.compile(r"\b((?:shardcap|pcap|process)_[a-z0-9_]+)\b")


def manifests():
    import yaml
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        pod = yaml.safe_load(path.read_text())
        spec = pod["spec"].get("template", pod)["spec"]
        yield path.name, spec, next(c for c in spec["containers"] if c["name"] == "shardcap")


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("netns")

    def setUp(self):
        self.run = family.Family(self, "-interface=lo").ready()
        self.page = self.run.get("/metrics")[1]
        self.known = set(re.findall(r"^# TYPE (\S+) ", self.page, re.M))
        self.known |= {name + end for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", self.page, re.M)
                       if kind == "histogram" for end in ("_bucket", "_sum", "_count")}

    def test_promtool_likes_the_page(self):
        need("promtool")
        done = subprocess.run(["promtool", "check", "metrics"], input=self.page, text=True, capture_output=True,
                              timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_openmetrics_for_those_who_ask(self):
        """Judged by the parser of Prometheus's own client."""
        parser = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as f; " \
                 "print(len(list(f(sys.stdin.read()))))"
        python = next((p for p in ("/usr/bin/python3", sys.executable) if subprocess.run(
            [p, "-c", "import prometheus_client"], stderr=subprocess.DEVNULL, timeout=60, check=False).returncode == 0),
            None)
        if not python:
            self.skipTest("python3-prometheus-client is not installed")
        host, port = self.run.url()
        done = subprocess.run(["curl", "-sfi", "-H", "Accept: application/openmetrics-text;version=1.0.0",
                               f"http://{host}:{port}/metrics"], text=True, capture_output=True, timeout=60, check=True)
        head, page = done.stdout.replace("\r\n", "\n").split("\n\n", 1)
        self.assertIn("Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8", head)
        done = subprocess.run([python, "-c", parser], input=page, text=True, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(int(done.stdout), len(re.findall("^# TYPE", self.page, re.M)))

    def test_rules(self):
        need("promtool")
        for words in (("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")):
            done = subprocess.run(["promtool", *words], cwd=DEPLOY / "prometheus", text=True, capture_output=True,
                                  timeout=60, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_alert_has_its_tests(self):
        alerts = re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus/rules.yml").read_text())
        tests = re.findall(r"name: (\w+ \w+)", (DEPLOY / "prometheus/rules_test.yml").read_text())
        self.assertGreater(len(alerts), 8)
        self.assertEqual(sorted(tests), sorted(f"{a} {w}" for a in alerts for w in ("fires", "silent")))

    def test_names_of_rules_and_dashboard_are_those_of_the_page(self):
        rules = re.sub(r"#.*", "", (DEPLOY / "prometheus/rules.yml").read_text())
        expressions = [rules]
        dashboard = json.loads((DEPLOY / "grafana/shardcap.json").read_text())
        self.assertGreater(len(dashboard["panels"]), 8)
        expressions += [t["expr"] for p in dashboard["panels"] for t in p["targets"]]
        expressions += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
        used = {w for e in expressions for w in WORD.findall(e)}
        self.assertGreater(len(used), 20)
        self.assertEqual(used - self.known, set())


class Containers(unittest.TestCase):
    def setUp(self):
        self.dockerfile = (DEPLOY / "docker/Dockerfile").read_text().replace("\\\n", " ")

    def packages(self, stage):
        return set(re.search(r"install -y --no-install-recommends ([^&\n]*)",
                             self.dockerfile.split("\nFROM ")[stage]).group(1).split())

    def test_the_build_image_has_what_make_deps_installs(self):
        wanted = re.search(r"^PACKAGES := (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.M | re.S).group(1)
        self.assertEqual(self.packages(1), set(wanted.replace("\\", "").split()))

    def test_the_image_has_the_libraries_of_the_programs(self):
        if family.SANITIZED:
            self.skipTest("a sanitizer's build links the sanitizer's libraries, too")
        if not shutil.which("dpkg"):
            self.skipTest("only dpkg knows which package a library is of")
        for name in family.PROGRAMS:
            status, said = run("ldd", family.BIN / name)
            self.assertEqual(status, 0, said)
            for path in re.findall(r"=> (/\S+)", said):
                owner = run("dpkg", "-S", path)
                if owner[0] != 0:
                    owner = run("dpkg", "-S", path.replace("/lib/", "/usr/lib/", 1))
                package = owner[1].split(":")[0]
                if package not in ("libc6", "libgcc-s1"):
                    # What a named library brings along, apt brings along.
                    direct = path.rsplit("/", 1)[1] in run("objdump", "-p", family.BIN / name)[1]
                    self.assertTrue(not direct or package in self.packages(2), f"{name} needs {package}")

    def test_packages_exist(self):
        if not shutil.which("apt-cache"):
            self.skipTest("only apt knows which packages there are")
        wanted = self.packages(1) | self.packages(2)
        known = run("apt-cache", "show", "--no-all-versions", *sorted(wanted))[1] + run("dpkg-query", "-s", *sorted(wanted))[1]
        self.assertEqual(wanted - set(re.findall(r"^Package: (\S+)$", known, re.M)), set())

    def test_steps_of_the_build(self):
        """Its lines done by hand: on a tree as .dockerignore leaves it, and what the image copies out of it is there."""
        if family.SANITIZED:
            self.skipTest("the image is made of the plain build")
        self.assertRegex(self.dockerfile, r"(?m)^COPY \. /src\nWORKDIR /src\nARG COMMIT=unknown\nRUN make ")
        (line,) = re.findall(r"^RUN (make .*)$", self.dockerfile, re.M)
        work = family.workdir(self)
        left_out = [f"--exclude=./{name}" for name in (ROOT / ".dockerignore").read_text().split()]
        (work / "src").mkdir()
        self.assertEqual(run("sh", "-c", 'tar -c "$@" . | tar -x -C "$0"', work / "src", *left_out)[0], 0)
        self.assertFalse((work / "src/.git").exists())
        done = subprocess.run(["sh", "-ec", line.replace("/out", str(work / "out"))], cwd=work / "src", text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=110, check=False,
                              env=dict(family.clean_env(), COMMIT="0123abc", MAKEFLAGS=""))
        self.assertEqual(done.returncode, 0, done.stdout[-2000:])
        (copied,) = re.findall(r"^COPY --from=build /out(\S+) /usr/bin/$", self.dockerfile, re.M)
        self.assertLessEqual(set(family.PROGRAMS), {p.name for p in (work / f"out{copied}").iterdir()})
        self.assertIn("0123abc", run(work / "out/usr/bin/shardcap", "-version")[1])

    def test_who_the_image_runs_as(self):
        lines = self.dockerfile.split("\nFROM ")[2].splitlines()
        order = [next(i for i, line in enumerate(lines) if re.search(what, line)) for what in (
            r"useradd --system --uid 65500 .* shardcap\b.*install -d -o shardcap -g shardcap .* /data /run/shardcap",
            r"^COPY --from=build ", r"^RUN setcap cap_net_raw\+p /usr/bin/shardcap-dispatcher$", r"^USER shardcap$")]
        self.assertEqual(order, sorted(order))  # a copy loses the capability, and only root can give it
        self.assertFalse([line for line in lines[order[-1]:] if line.startswith("RUN")])
        self.assertIn("libcap2-bin", self.packages(2))
        self.assertIn('ENTRYPOINT ["/usr/bin/shardcap"]', lines)
        named = dict(pair.split("=", 1) for line in lines if line.startswith("ENV ") for pair in line.split()[1:])
        known = run(family.BIN / "shardcap", "-help")[1].split()
        self.assertGreater(len(named), 2)
        self.assertLessEqual(set(named), set(known))

    def test_memory_limits_hold_what_check_adds_up(self):
        seen = 0
        for name, _, container in manifests():
            with self.subTest(name):
                work = family.workdir(self)
                arguments = [a for a in container["args"] if not a.startswith(("-datadir", "-rundir", "-prometheusx"))]
                status, said = run(family.BIN / "shardcap", "-check", f"-datadir={work}/data", f"-rundir={work}/run",
                                   "-prometheusx.listen-address=127.0.0.1:0", *arguments)
                self.assertEqual(status, 0, said)
                total = float(re.search(r"^  sum +([0-9.]+) MiB", said, re.M).group(1))
                limit = container["resources"]["limits"]["memory"]
                self.assertTrue(limit.endswith("Mi"))
                self.assertGreaterEqual(float(limit[:-2]), total)
                seen += 1
        self.assertEqual(seen, 2)

    def test_probes_and_rights(self):
        for name, spec, container in manifests():
            with self.subTest(name):
                paths = {probe: container[probe]["httpGet"]["path"] for probe in
                         ("startupProbe", "livenessProbe", "readinessProbe")}
                self.assertEqual(paths, {"startupProbe": "/readyz", "livenessProbe": "/healthz",
                                         "readinessProbe": "/readyz"})
                rights = container["securityContext"]
                self.assertEqual(rights["capabilities"], {"drop": ["ALL"], "add": ["NET_RAW"]})
                self.assertTrue(rights["allowPrivilegeEscalation"])  # the file capability does nothing without
                self.assertTrue(rights["readOnlyRootFilesystem"])
                self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], 30)


class AsInAContainer(unittest.TestCase):
    """What the image and the manifests promise, without a container runtime: an ordinary user with a file capability,
    a bounding set of CAP_NET_RAW alone, a read-only root, /dev/shm of 64 MiB and rings of 128."""

    SCRIPT = """set -e
mount --make-rprivate /
mount -t tmpfs -o size=64m none /dev/shm
mount --bind "$1" "$1"
mount -o remount,bind,ro /
shift
exec setpriv --reuid=65500 --regid=65500 --clear-groups --bounding-set=-all,+net_raw --inh-caps=-all "$@"
"""

    @classmethod
    def setUpClass(cls):
        need("root", "netns")

    def test_runs(self):
        work = family.workdir(self)
        programs = work / "bin"
        programs.mkdir()
        for name in family.PROGRAMS:
            shutil.copy(family.BIN / name, programs / name)
        subprocess.run(["setcap", "cap_net_raw+p", str(programs / "shardcap-dispatcher")], check=True, timeout=20)
        subprocess.run(["chown", "-R", "65500:65500", str(work)], check=True, timeout=20)
        subprocess.run(["setcap", "cap_net_raw+p", str(programs / "shardcap-dispatcher")], check=True, timeout=20)
        work.chmod(0o755)
        process = family.Family(self, "-interface=lo", "-shards=8", "-ringsize=16MB", "-maxheap=500MB",
                                work=work, programs=programs,
                                wrapper=("unshare", "--mount", "bash", "-c", self.SCRIPT, "sh", str(work)))
        process.ready()
        process.stop()


if __name__ == "__main__":
    unittest.main()
