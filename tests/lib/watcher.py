# SPDX-License-Identifier: Apache-2.0
"""Somebody who listens to events.sock with nanomsg's own tool."""
import json
import subprocess


class Watcher:
    """nanocat --sub on events.sock; what it prints, line by line."""

    def __init__(self, test, run, *topics, form="-A"):
        self.path = run.work / f"watch.{len(list(run.work.glob('watch.*')))}"
        subscribe = [word for topic in topics for word in ("--subscribe", topic)]
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(["nanocat", "--sub", "--connect", f"ipc://{run.rundir}/events.sock",
                                             *subscribe, form], stdout=out, stderr=subprocess.STDOUT)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)

    def lines(self):
        """[(topic, object)] of what has come whole."""
        text = self.path.read_text()
        whole = text[:text.rfind("\n") + 1].splitlines()
        return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in whole]

    def of(self, topic):
        return [o for t, o in self.lines() if t == topic]
