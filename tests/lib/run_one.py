# SPDX-License-Identifier: Apache-2.0
"""Runs one file of Python tests and writes what became of each test as JSON lines: called by run_tests.py.

    run_one.py FILE RESULTS TIMEOUT [SELECTION ...]

Each test has TIMEOUT seconds (a class may set `timeout`); then it fails with the stacks of all threads.
"""
import faulthandler
import importlib.util
import json
import pathlib
import signal
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]


class TimedOut(Exception):
    pass


def on_alarm(_signum, _frame):
    faulthandler.dump_traceback(sys.stderr)
    raise TimedOut("the test took too long")


class Recorder(unittest.TestResult):
    def __init__(self, out, timeout):
        super().__init__()
        self.out, self.timeout, self.buffer = out, timeout, False
        self.began = 0.0
        self.sub_failed = {}

    def say(self, test, outcome, text=""):
        record = {"test": test.id() if hasattr(test, "id") else str(test), "outcome": outcome, "text": text,
                  "seconds": round(time.monotonic() - self.began, 2) if self.began else 0}
        self.out.write(json.dumps(record) + "\n")
        self.out.flush()

    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()
        signal.alarm(getattr(test, "timeout", self.timeout))

    def stopTest(self, test):
        signal.alarm(0)
        if test.id() in self.sub_failed:  # nothing else is called for such a test
            self.say(test, "failed", "\n".join(self.sub_failed.pop(test.id())))
        super().stopTest(test)

    def addSuccess(self, test):
        self.say(test, "passed")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            text = f"{subtest.id()}:\n" + "".join(traceback.format_exception(*err))
            self.sub_failed.setdefault(test.id(), []).append(text)

    def addFailure(self, test, err):
        self.say(test, "failed", "".join(traceback.format_exception(*err)))

    def addError(self, test, err):
        self.say(test, "failed", "".join(traceback.format_exception(*err)))

    def addSkip(self, test, reason):
        self.say(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.say(test, "failed", "expected failures are not wanted here")

    def addUnexpectedSuccess(self, test):
        self.say(test, "passed")


def main():
    path, results, timeout, selection = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    signal.signal(signal.SIGALRM, on_alarm)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(selection, module) if selection else loader.loadTestsFromModule(module)
    with open(results, "a") as out:
        recorder = Recorder(out, timeout)
        suite.run(recorder)
        # Without this line the runner knows that the file did not get to its end, whatever its exit status.
        out.write(json.dumps({"end": recorder.testsRun}) + "\n")


if __name__ == "__main__":
    main()
