# SPDX-License-Identifier: Apache-2.0
"""Each guard must turn red: one violation is planted into a copy of the tree, and the guard is asked about it.

A guard that stays green here guards nothing. That the guards are green on the tree as it is, is their own run's matter.
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

HEAD = "/* SPDX-License-Identifier: Apache-2.0 */\n"


class Guard(unittest.TestCase):
    timeout = 300

    @classmethod
    def setUpClass(cls):
        """The copy holds what the guards read; sources only of shared/, so that linting it takes seconds."""
        cls.tree = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-guards-"))
        for name in ("Makefile", ".clang-format", ".clang-tidy", "tests/guards", "tests/lib", "dispatcher/ctl"):
            source, target = ROOT / name, cls.tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy(source, target)
        (cls.tree / "shared").mkdir()
        for path in (ROOT / "shared").glob("*.h"):
            shutil.copy(path, cls.tree / "shared")
        shutil.copy(ROOT / "shared/err.c", cls.tree / "shared")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.tree)

    def plant(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.addCleanup(path.unlink, missing_ok=True)

    def make(self, *targets):
        env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "SANITIZE", "BUILD", "CC")}
        done = subprocess.run(["make", *targets], cwd=self.tree, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def red(self, word, *targets):
        """The target fails and its output names the reason."""
        status, output = self.make(*targets)
        self.assertNotEqual(status, 0, output[-3000:])
        self.assertIn(word, output)

    # ---- formatting ----

    def test_format(self):
        status, output = self.make("check-format")
        self.assertEqual(status, 0, output[-3000:])
        self.plant("shared/planted.c", HEAD + "int  planted( void ) ;\n")
        self.red("planted.c", "check-format")

    # ---- compiler ----

    def test_warnings_are_errors(self):
        for flag, text in (("unused-variable", "void f(void);\nvoid f(void)\n{\n    int x;\n}\n"),
                           ("shadow", "int f(int x);\nint f(int x)\n{\n    {\n        int x = 1;\n        return x;\n    }\n}\n"),
                           ("conversion", "char f(int x);\nchar f(int x)\n{\n    return x;\n}\n"),
                           ("unused-parameter", "int f(int x);\nint f(int x)\n{\n    return 1;\n}\n"),
                           ("unused-result", '#include "shared/shm.h"\nvoid f(void);\nvoid f(void)\n{\n'
                                             '    shm_create("x", 1);\n}\n')):
            for compiler in ("gcc", "clang"):
                with self.subTest(flag=flag, compiler=compiler):
                    self.plant("shared/planted.c", HEAD + text)
                    self.red(flag, f"CC={compiler}", f"BUILD=build/{compiler}",
                             f"build/{compiler}/obj/shared/planted.o")

    # ---- clang-tidy and cppcheck ----

    def lint(self, only):
        return [f"lint-{only}", "sources=shared/planted.c"]

    def test_clang_tidy(self):
        for check, text in (
                ("bugprone-sizeof-expression", "unsigned long f(const int *p);\nunsigned long f(const int *p)\n{\n"
                                               "    return sizeof(p) / sizeof(*p);\n}\n"),
                ("clang-analyzer-unix.Malloc", "#include <stdlib.h>\n\nint f(void);\nint f(void)\n{\n"
                                               "    int *p = malloc(sizeof *p);\n    return p ? 1 : 0;\n}\n"),
                ("clang-analyzer-core.NullDereference", "int f(int *p);\nint f(int *p)\n{\n    if (!p)\n"
                                                        "        return *p;\n    return 0;\n}\n")):
            with self.subTest(check=check):
                self.plant("shared/planted.c", HEAD + text)
                self.red(check, *self.lint("tidy"))
        self.plant("shared/planted.c", HEAD + "int planted(void);\nint planted(void)\n{\n    return 1;\n}\n")
        status, output = self.make(*self.lint("tidy"))
        self.assertEqual(status, 0, output)

    def test_cppcheck(self):
        self.plant("shared/planted.c", HEAD + "int f(void);\nint f(void)\n{\n    int a[4] = {0};\n"
                                              "    return a[4];\n}\n")
        self.red("arrayIndexOutOfBounds", *self.lint("cppcheck"))
        self.plant("shared/planted.c", HEAD + "int planted(void);\nint planted(void)\n{\n    return 1;\n}\n")
        status, output = self.make(*self.lint("cppcheck"))
        self.assertEqual(status, 0, output)

    # ---- layers ----

    def layers(self, root=None):
        done = subprocess.run(["python3", str(ROOT / "tests/guards/check_layers.py"), "--root", str(root or ROOT)],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_layers(self):
        tree = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-layers-"))
        self.addCleanup(shutil.rmtree, tree)
        for folder in ("shared", "shard", "dispatcher", "tests/guards"):
            shutil.copytree(ROOT / folder, tree / folder)
        self.assertEqual(self.layers(tree)[0], 0, self.layers(tree)[1])
        for path, line, word in (
                ("shared/log.c", '#include "shard/arena.h"', "shared may know itself"),
                ("shard/arena.c", '#include "dispatcher/hub/http.h"', "shard may know itself"),
                ("dispatcher/hub/hub.c", '#include "shard/arena.h"', "dispatcher/hub may know itself"),
                ("dispatcher/hub/hub.c", '#include "dispatcher/ctl/client.h"', "dispatcher/hub may know itself"),
                ("shared/err.c", '#include "shared/ring.h"', "does not stand under it"),
                ("shard/arena.c", '#include "shard/chunk.h"', "does not stand under it"),
                ("shared/ring.c", "#include <zlib.h>", "more than one file"),
                ("dispatcher/hub/hub.c", "#include <nanomsg/nn.h>", "more than one file"),
                ("shared/ring.h", "#include <event2/event.h>", "a header includes"),
                ("shared/err.c", '#include "err.h"', "not a path from the root")):
            with self.subTest(path=path, line=line):
                whole = (tree / path).read_text()
                (tree / path).write_text(line + "\n" + whole)
                status, output = self.layers(tree)
                (tree / path).write_text(whole)
                self.assertEqual(status, 1)
                self.assertIn(word, output)
        (tree / "shared/newcomer.c").write_text(HEAD)
        status, output = self.layers(tree)
        self.assertEqual(status, 1)
        self.assertIn("newcomer.c: not in", output)

    def test_links(self):
        """A program that is linked with what it must not have."""
        tree = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-links-"))
        self.addCleanup(shutil.rmtree, tree)
        (tree / "m.c").write_text("int main(void) { return 0; }\n")
        for name in ("shardcap", "shardcap-dispatcher", "shardcap-hub", "shardcap-shard", "shardcapctl"):
            subprocess.run(["gcc", str(tree / "m.c"), "-Wl,--no-as-needed", "-lpcap", "-o", str(tree / name)], check=True)
        done = subprocess.run(["python3", str(ROOT / "tests/guards/check_layers.py"), "--bin", str(tree)],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        for name in ("shardcap", "shardcap-hub", "shardcap-shard"):
            self.assertIn(f"{name} is linked with libpcap", done.stdout)
        for name in ("shardcap-dispatcher", "shardcapctl"):
            self.assertNotIn(f"{name} is linked with libpcap", done.stdout)


class Inputs(unittest.TestCase):
    """Each hostile input has a test; a marked test that is not run is none."""

    def ask(self, change=lambda tree: None):
        tree = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-inputs-"))
        self.addCleanup(shutil.rmtree, tree)
        shutil.copytree(ROOT / "tests", tree / "tests")
        change(tree)
        done = subprocess.run(["python3", str(tree / "tests/guards/check_inputs.py")], capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout + done.stderr

    def edit(self, name, old, new):
        def change(tree):
            text = (tree / "tests" / name).read_text()
            self.assertIn(old, text)
            (tree / "tests" / name).write_text(text.replace(old, new))
        return change

    def test_missing_ones_are_seen(self):
        self.assertEqual(self.ask()[0], 0)
        status, output = self.ask(self.edit("unit/shared/test_frame_hostile.c", "Hostile input 27", "Input 27"))
        self.assertEqual(status, 1)
        self.assertIn("no test for 27", output)
        self.assertEqual(self.ask(self.edit("unit/shared/frame_rows.h", '{"5 ', '{"'))[0], 1)
        status, output = self.ask(self.edit("unit/shared/test_frame_hostile.c", "cmocka_unit_test(a_cut_has_its_cause),", ""))
        self.assertEqual(status, 1)
        self.assertIn("a_cut_has_its_cause is not run", output)


class Runner(unittest.TestCase):
    """The test runner itself: what fails must not end green."""

    def run_on(self, **files):
        tree = pathlib.Path(tempfile.mkdtemp(prefix="shardcap-runner-"))
        self.addCleanup(shutil.rmtree, tree)
        shutil.copytree(ROOT / "tests/lib", tree / "tests/lib")
        (tree / "tests/integration").mkdir()
        for name, text in files.items():
            (tree / f"tests/integration/{name}.py").write_text("import unittest\n" + text)
        return tree

    def runner(self, tree, *what, **env):
        done = subprocess.run(["python3", str(tree / "tests/lib/run_tests.py"), *what], capture_output=True, text=True,
                              env=dict(os.environ, **env), check=False)
        return done.returncode, done.stdout

    CASE = "class T(unittest.TestCase):\n    def test(self):\n        {}\n"

    def test_totals(self):
        good, bad = self.CASE.format("pass"), self.CASE.format("self.fail('planted')")
        skip = self.CASE.format("self.skipTest('no reason at all')")
        status, out = self.runner(self.run_on(test_a=good, test_b=skip), "integration")
        self.assertEqual((status, out.splitlines()[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertIn("no reason at all", out)
        sub = self.CASE.format("\n        with self.subTest(n=1):\n            self.fail('planted below')")
        status, out = self.runner(self.run_on(test_a=good, test_b=sub), "integration")
        self.assertEqual((status, out.splitlines()[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("planted below", out)
        status, out = self.runner(self.run_on(test_a=good, test_b=bad), "integration")
        self.assertEqual((status, out.splitlines()[-1]), (1, "1 passed, 1 failed, 0 skipped"))
        self.assertIn("planted", out)

    def test_nothing_that_ran_is_a_failure(self):
        self.assertEqual(self.runner(self.run_on(), "integration")[0], 1)
        skip = self.CASE.format("self.skipTest('x')")
        self.assertEqual(self.runner(self.run_on(test_a=skip), "integration")[0], 1)

    def test_a_file_that_dies_or_cannot_be_read_is_a_failure(self):
        for text in ("import os\nos.abort()\n", "def broken(:\n", self.CASE.format("import os; os._exit(0)")):
            status, out = self.runner(self.run_on(test_a=self.CASE.format("pass"), test_b=text), "integration")
            self.assertEqual(status, 1, out)

    def test_required_things_that_are_missing_fail(self):
        text = self.CASE.format("import need; need.PROBES['tshark'] = (lambda: False, 'gone'); need.need('tshark')")
        tree = self.run_on(test_a=text, test_b=self.CASE.format("pass"))
        self.assertEqual(self.runner(tree, "integration", REQUIRE="")[1].splitlines()[-1], "1 passed, 0 failed, 1 skipped")
        self.assertEqual(self.runner(tree, "integration", REQUIRE="netns,tshark")[0], 1)


if __name__ == "__main__":
    unittest.main()
