# SPDX-License-Identifier: Apache-2.0
"""The status page: its numbers are those of /metrics, nothing is fetched or told that should not be, it outlives the
hub, and a browser draws it."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import unittest

import family
import netns
from need import need

# How wide the page became, and the least contrast of all its texts to what is behind them.
MEASURE = """
function rgb(c) { return (c.match(/[0-9.]+/g) || []).map(Number) }
function light(c) { const [r, g, b] = rgb(c).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b }
let least = 99, worst = '', texts = 0;
for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || /title|script/i.test(e.tagName))
        continue;
    const colour = getComputedStyle(e)[e.closest('svg') ? 'fill' : 'color'];
    let at = e;
    while (at && rgb(getComputedStyle(at).backgroundColor)[3] === 0) at = at.parentElement;
    const a = light(colour), b = light(at ? getComputedStyle(at).backgroundColor : 'rgb(255,255,255)');
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts++;
    if (contrast < least) { least = contrast; worst = e.outerHTML.slice(0, 60).replace(/[<>]/g, '|') }
}
document.title = JSON.stringify({width: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
    texts, least, worst, paper: getComputedStyle(document.body).backgroundColor});
"""
NUMBER = re.compile(r"data-metric='([^'{]+)(?:\{([^}]*)\})?' data-value=\"([^\"]+)\"")


def talk(server, client, count):
    """So many short connections from one namespace to the other."""
    listening = server.inside(socket.create_server, ("10.77.0.1", 7000))

    def serve():
        for _ in range(count):
            peer, _ = listening.accept()
            peer.recv(10)
            peer.close()

    def ask():
        for _ in range(count):
            with socket.create_connection(("10.77.0.1", 7000), 30) as c:
                c.send(b"x")
                c.recv(10)
    thread = threading.Thread(target=serve)
    thread.start()
    client.inside(ask)
    thread.join()
    listening.close()


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need("netns")

    def setUp(self):
        self.server, self.client = netns.pair(self)
        self.run = family.Family(self, "-interface=veth0", "-shards=2", "-flowtimeout=1s",
                                 namespace=self.server.name).ready()
        talk(self.server, self.client, 30)
        self.run.until(lambda: self.run.metric("shardcap_files_total") == 30, "30 files")
        self.run.until(lambda: self.run.metric("shardcap_flows") == 0, "rest")

    def page(self):
        status, text = self.run.get("/")
        self.assertEqual(status, 200)
        return text

    def same(self, page, metrics):
        """Numbers of the page that are not those of the metrics."""
        wrong = []
        for name, labels, value in NUMBER.findall(page):
            wanted = set(filter(None, re.findall(r'[^,"]+="[^"]*"', labels)))
            found = sum(v for k, v in metrics.items() if k.split("{")[0] == name and
                        wanted <= set(re.findall(r'[^,"{]+="[^"]*"', k)))
            if found != float(value):
                wrong.append((name, labels, value, found))
        return wrong

    def test_numbers_are_those_of_metrics(self):
        page, metrics = self.page(), self.run.metrics()
        self.assertGreater(len(NUMBER.findall(page)), 15)
        self.assertIn("shardcap_packets_saved_total", page)
        self.assertEqual(self.same(page, metrics), [])

    def test_nothing_is_fetched_or_told(self):
        page = self.page()
        self.assertNotIn("<script", page)
        self.assertNotRegex(page, r"(?i)(src|href|url\()\s*=?\s*[\"'(]?\s*(https?:)?//")
        status = self.run.get("/api/status")[1]
        for text in (page, status):
            self.assertNotRegex(re.sub(r'"version":"[^"]*"', "", text).replace("shardcap 0.1.0", ""),
                                r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
            self.assertNotRegex(text, r"_[0-9A-F]{16}\b")
        for method in ("POST", "PUT", "DELETE"):
            self.assertEqual(self.run.get("/", method)[0], 405)

    def test_api_status(self):
        status, text = self.run.get("/api/status")
        self.assertEqual(status, 200)
        told = json.loads(text)
        self.assertTrue(told["ready"])
        self.assertGreaterEqual(told["files"], 30)
        self.assertEqual(len([p for p in told["processes"] if p["process"] == "shard"]), 2)

    def points(self):
        return max(len(re.findall("[ML]", d)) for d in re.findall(r'class="l\d" d="([^"]*)"', self.page()))

    def test_latency_is_drawn_once_there_is_some(self):
        def drawn():
            page = self.page()
            return re.search(r"<span class=\"k0\">first packet to UUID <b>0<", page) is None and \
                re.search(r"<span class=\"k1\">last packet to file <b>0<", page) is None
        talk(self.server, self.client, 5)  # after the first sample
        self.run.until(drawn, "both latencies")

    def test_history_outlives_the_hub(self):
        self.run.until(lambda: self.points() >= 2, "two samples")
        before = self.points()
        hub = self.run.children()["shardcap-hub"][0]
        os.kill(hub, signal.SIGKILL)
        self.run.until(lambda: self.run.children().get("shardcap-hub", [hub]) != [hub], "a new hub")
        self.run.ready()
        self.assertGreaterEqual(self.points(), before)
        self.assertIn('data-metric=\'shardcap_restarts_total{process="hub",shard=""}\' data-value="1"', self.page())

    # ---- in a browser ----

    def chromium(self, *words):
        done = subprocess.run([*netns.enter(self.server.name), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                               f"--user-data-dir={self.run.work}/chromium", *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=100, check=True)
        return done.stdout

    def test_browser(self):
        need("chromium")
        host, port = self.run.url()
        shot = self.run.work / "page.png"
        self.chromium("--window-size=1200,900", f"--screenshot={shot}", f"http://{host}:{port}/")
        with open(shot, "rb") as f:
            head = f.read(24)
        self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(struct.unpack(">II", head[16:24]), (1200, 900))
        self.assertGreater(shot.stat().st_size, 20000)  # an empty page of this size has 5000
        # What the browser made of it holds the numbers, and at the width of a phone nothing sticks out.
        dom = self.chromium("--dump-dom", f"http://{host}:{port}/")
        self.assertGreaterEqual(len(re.findall("<svg ", dom)), 7)
        self.assertRegex(dom, r'data-metric="shardcap_packets_delivered_total" data-value="\d+"')
        local = self.run.work / "page.html"
        local.write_text(self.page().replace("</body>", f"<script>{MEASURE}</script></body>"))
        papers = set()
        for scheme in ("0", "1"):  # dark, light
            told = json.loads(re.search("<title>(.*?)</title>", self.chromium(
                f"--blink-settings=preferredColorScheme={scheme}", "--window-size=500,900", "--dump-dom",
                f"file://{local}")).group(1))
            self.assertLessEqual(told["width"], told["room"])
            self.assertGreater(told["texts"], 40)
            self.assertGreaterEqual(told["least"], 4.5, told)  # WCAG 2, level AA
            papers.add(told["paper"])
        self.assertEqual(len(papers), 2)


if __name__ == "__main__":
    unittest.main()
