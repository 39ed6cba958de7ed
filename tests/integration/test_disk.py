# SPDX-License-Identifier: Apache-2.0
"""Disks that fill up and come back, limits that people ask for, and what an uploader sees."""
import collections
import contextlib
import datetime
import errno
import gzip
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import unittest

import eventserver
import family
import inotify
import need
import netns
import pcapgen as g
import shim
import traffic

IN_USER_NAMESPACE = True


def small_disk(test, path, size):
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "none", str(path)], check=True)
    test.addCleanup(subprocess.run, ["umount", "-l", str(path)], check=False)


class Live(unittest.TestCase):
    def start(self, *args, disk=None, inside=False, env=None):
        need.need("netns")
        self.a, self.b = netns.pair(self)
        self.work = family.workdir(self)
        if disk:
            small_disk(self, self.work / "disk", disk)
        else:
            (self.work / "disk").mkdir(mode=0o777)
            os.chmod(self.work / "disk", 0o777)
        if inside:
            args += (f"-stagingdir={self.work}/disk/data/.staging",)
            (self.work / "disk" / "data").mkdir(mode=0o777)
            os.chmod(self.work / "disk" / "data", 0o777)
        self.events = eventserver.EventServer(self, self.work / "e.sock")
        self.run_ = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={self.events.path}", "-flowtimeout=200ms",
                                  "-captureduration=300ms", "-uuidwaitduration=300ms", "-syncinterval=50ms", *args,
                                  namespace=self.a.name, work=self.work, datadir=self.work / "disk" / "data",
                                  env=env).ready()
        self.run_.until(lambda: self.events.accepted, "the hub connects")
        self.server = traffic.Server(self, self.a, on_accept=traffic.announce(self.events))
        return self.run_

    def fetch(self, size=3000):
        traffic.fetch(self.b, "10.77.0.1", self.server.port, size)

    def ballast(self, left):
        """Fills the disk but for `left` bytes. Returns how to empty it."""
        path = self.work / "disk" / "ballast"
        st = os.statvfs(self.work / "disk")
        with open(path, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, st.f_bavail * st.f_frsize - left)
        return path.unlink

    def rest(self):
        self.run_.until(lambda: self.run_.metric("shardcap_packets_buffered") == 0, "nothing is buffered")

    def held(self):
        """A connection that stays; what it gives sends so many segments and waits for their echo."""
        @contextlib.contextmanager
        def body():
            listener = netns.inside(self.a.name, lambda: socket.create_server(("0.0.0.0", 0)))
            accepted = []
            thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
            thread.start()
            client = netns.inside(self.b.name, lambda: socket.create_connection(
                ("10.77.0.1", listener.getsockname()[1]), timeout=30))
            thread.join()
            server, peer = accepted[0]
            cookie = int.from_bytes(server.getsockopt(socket.SOL_SOCKET, traffic.SO_COOKIE, 8), "little")
            self.held_uuid = f"held_{cookie:016X}"
            traffic.announce(self.events)(self.held_uuid, server.getsockname(), peer, cookie)

            def talk(count):
                for _ in range(count):
                    client.sendall(b"x")
                    assert server.recv(1) == b"x"
                    server.sendall(b"y")
                    assert client.recv(1) == b"y"
            talk(1)
            self.run_.until(lambda: self.run_.metric("shardcap_flows_started_total") == 1, "the flow is there")
            try:
                yield talk
            finally:
                for s in (client, server, listener):
                    s.close()
        return body()


class FullDisk(Live):
    def test_enospc_then_room_again(self):
        """Capture goes on, flows wait in memory, nothing is lost, nobody sees a torn file, and writing resumes."""
        run = self.start("-mindiskfree=0", "-shards=2", disk="2m")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the first file")
        empty = self.ballast(0)
        for _ in range(10):
            self.fetch()
        run.until(lambda: len(self.complaints()) >= 4, "file calls fail, and are tried again")
        self.assertGreaterEqual(run.metric("shardcap_file_errors_total"), 4)
        self.assertEqual(run.metric("shardcap_files_total"), 1)
        self.assertEqual(run.metric("shardcap_dropped_packets_total"), 0)
        self.assertEqual(len(run.files()), 1)
        self.fetch()
        empty()
        run.until(lambda: run.metric("shardcap_files_total") == 12, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(run.leftovers(), [])
        self.one_line_a_second()

    def test_no_more_files_then_some_again(self):
        """A file system with room for bytes, but not for another file: the same."""
        run = self.start("-mindiskfree=0", "-shards=2", disk="64m,nr_inodes=40")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the first file")
        ballast = []
        with contextlib.suppress(OSError):
            while True:
                path = self.work / "disk" / f"ballast{len(ballast)}"
                path.touch()
                ballast.append(path)
        self.assertGreater(len(ballast), 5)
        for _ in range(10):
            self.fetch()
        run.until(lambda: len(self.complaints()) >= 3, "file calls fail, and are tried again")
        self.assertEqual(run.metric("shardcap_dropped_packets_total"), 0)
        self.assertEqual(len(run.files()), 1)
        for path in ballast:
            path.unlink()
        run.until(lambda: run.metric("shardcap_files_total") == 11, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})
        self.assertEqual(run.leftovers(), [])

    def test_mindiskfree_knows_of_files_too(self):
        run = self.start("-mindiskfree=20%", "-shards=1", disk="64m,nr_inodes=100")
        ballast = [self.work / "disk" / f"ballast{i}" for i in range(82)]
        for path in ballast:
            path.touch()
        run.until(lambda: run.metric("shardcap_disk_paused") == 1, "new flows pause")
        self.assertTrue(run.said(r"new flows pause: -mindiskfree free=\d+ files_free=\d+"), run.log)
        self.fetch()
        run.until(lambda: run.metric("shardcap_dropped_packets_total") > 0, "packets of a new flow are counted")
        for path in ballast:
            path.unlink()
        run.until(lambda: run.metric("shardcap_disk_paused") == 0, "new flows are welcome")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "a file")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(set(run.summary()["drops"]), {"disk_full"})

    def test_read_only_for_a_while(self):
        """As after an error of the device, or by hand: nothing is lost, and writing resumes."""
        run = self.start("-mindiskfree=0", "-shards=2", disk="8m")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the first file")
        disk = str(self.work / "disk")
        run.until(lambda: subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode == 0,
                  "no file is open for writing")
        for _ in range(10):
            self.fetch()
        run.until(lambda: re.search("Read-only file system", run.log), "it is said")
        self.assertEqual(run.metric("shardcap_files_total"), 1)
        self.assertEqual(run.metric("shardcap_dropped_packets_total"), 0)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        run.until(lambda: run.metric("shardcap_files_total") == 11, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_permission_taken_away_for_a_while(self):
        """A shard has no capability that would help it."""
        run = self.start("-mindiskfree=0", "-shards=2")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the first file")
        staging = run.datadir.with_name("data.staging")
        mode = staging.stat().st_mode
        staging.chmod(0)
        for _ in range(5):
            self.fetch()
        run.until(lambda: re.search("Permission denied", run.log), "it is said")
        self.assertEqual(run.metric("shardcap_files_total"), 1)
        staging.chmod(mode)
        run.until(lambda: run.metric("shardcap_files_total") == 6, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def removed(self, *names, **how):
        """Directories are removed under it: made again, and nothing is lost that had not been published."""
        run = self.start("-mindiskfree=0", "-shards=2", "-syncinterval=1s", **how)
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the first file")
        for name in names:  # as `find -empty -delete` would, and worse
            shutil.rmtree(run.datadir.with_name(name))
        for _ in range(10):
            self.fetch()
        run.until(lambda: run.said("is made again"), "it is noticed")
        run.until(lambda: run.metric("shardcap_files_total") == 11, "all files appear")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 12, "and the next")
        self.assertEqual(run.metric("shardcap_restarts_total"), 2, "each shard was replaced once")
        self.assertEqual(len(run.files()), 12 - ("data" in names))
        run.proves = "data" not in names  # the first file has gone with its directory
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary(files=run.proves)["drops"], {})
        self.assertEqual(run.leftovers(), [])

    def test_the_data_directory_is_removed(self):
        self.removed("data")

    def test_the_staging_directory_is_removed(self):
        self.removed("data.staging")

    def test_both_are_removed(self):
        self.removed("data", "data.staging")

    def test_staging_inside_is_removed_with_the_data_directory(self):
        self.removed("data", inside=True)

    def test_staging_with_files_in_it_is_removed(self):
        """Written, but not published yet: they are written again."""
        run = self.start("-mindiskfree=0", "-shards=1", "-syncinterval=3s")
        for _ in range(5):
            self.fetch()
        run.until(lambda: len(run.leftovers()) == 5, "files wait for their sync")
        shutil.rmtree(run.datadir.with_name("data.staging"))
        run.until(lambda: run.metric("shardcap_files_total") == 5, "all files appear")
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def test_a_link_in_place_of_a_staged_file(self):
        """Planted while it runs, under every name that may be next: not followed, and the file waits."""
        run = self.start("-mindiskfree=0", "-shards=1", "-captureduration=20s", "-flowtimeout=5s")
        outside = self.work / "outside"
        with self.held() as talk:
            talk(5)
            staging, links = run.datadir.with_name("data.staging"), []
            day = datetime.datetime.now(datetime.timezone.utc)
            for date in (day, day + datetime.timedelta(days=1)):
                for generation in range(1, 10):
                    for idx in range(4):
                        name = f"{date:%Y%m%d}.{self.held_uuid}.0.{generation << 32 | idx}.part"
                        (staging / name).symlink_to(outside)
                        links.append(staging / name)
        run.until(lambda: re.search("cannot create a file: Too many levels of symbolic links", run.log), "it is refused")
        self.assertFalse(outside.exists())
        for link in links:
            link.unlink()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "the file appears")
        self.assertFalse(outside.exists())
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["drops"], {})

    def complaints(self):
        return re.findall(r"(?m)^(\S+)Z WARN\w* (\S+) cannot (?:create|write|rename|sync|make)\b.*?: ([^;]+);", self.run_.log)

    def one_line_a_second(self):
        """Of each process and cause."""
        last = collections.defaultdict(lambda: datetime.datetime.min)
        lines = self.complaints()
        self.assertGreater(len(lines), 0, self.run_.log)
        for stamp, process, cause in lines:
            at = datetime.datetime.fromisoformat(stamp)
            self.assertGreaterEqual(at - last[process, cause], datetime.timedelta(seconds=0.99), self.run_.log)
            last[process, cause] = at

    def test_mindiskfree_pauses_new_flows_and_says_so(self):
        run = self.start("-mindiskfree=50%", "-shards=1", "-captureduration=20s", "-flowtimeout=10s", disk="4m")

        def status():
            return family.run("-rundir", run.rundir, "status", program="shardcapctl")[1]
        self.assertEqual(run.metric("shardcap_disk_paused"), 0)
        self.assertNotIn("PAUSE", status())
        with self.held() as old:
            empty = self.ballast(1 << 20)
            run.until(lambda: run.metric("shardcap_disk_paused") == 1, "new flows pause")
            self.assertIn("NEW FLOWS PAUSE", status())
            self.assertTrue(run.said("new flows pause: -mindiskfree"), run.log)
            self.assertLess(run.metrics()['shardcap_disk_bytes{kind="free"}'], 2 << 20)
            self.fetch()
            refused = 'shardcap_dropped_packets_total{cause="disk_full",class="lost"}'
            run.until(lambda: run.metrics()[refused] > 0, "packets of a new flow are counted")
            before = run.metrics()[refused]
            old(50)  # one that was there goes on
            empty()
            run.until(lambda: run.metric("shardcap_disk_paused") == 0, "new flows are welcome")
            self.assertTrue(run.said("new flows are saved again: -mindiskfree"), run.log)
            self.fetch()
        self.assertEqual(run.stop(), 0, run.log)
        summary = run.summary()
        self.assertEqual(set(summary["drops"]), {"disk_full"})
        self.assertEqual(summary["files"], 2)
        self.assertGreater(max(len(f.records) for f in run.files().values()), 50)
        self.assertGreaterEqual(summary["drops"]["disk_full"], before)


class Uploader(Live):
    def watched(self, *args, inside=False, env=None):
        run = self.start(*args, inside=inside, env=env)
        today = datetime.datetime.now(datetime.timezone.utc)
        for day in (today, today + datetime.timedelta(days=1)):
            run.until((run.datadir / day.strftime("%Y/%m/%d")).is_dir, "directories are made ahead")
        watch = inotify.Watch(self, run.datadir)
        for _ in range(25):
            self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 25, "all files")
        self.assertEqual(run.stop(), 0, run.log)
        run.summary()
        seen = collections.Counter()
        for event in watch.read():
            path = event.directory / event.name
            below = path.relative_to(run.datadir)
            if any(part.startswith(".") for part in below.parts) or event.mask & inotify.ISDIR:
                # What stands in a hidden place has a hidden name itself: an uploader that looks at names alone.
                self.assertTrue(event.mask & inotify.ISDIR or event.name.startswith("."), event)
                continue
            self.assertEqual(event.mask, inotify.MOVED_TO, event)
            seen[str(below)] += 1
        self.assertEqual(dict(seen), {str(name): 1 for name in run.files()})
        return run

    def test_staging_beside_the_tree(self):
        run = self.watched("-shards=2")
        self.assertFalse((run.datadir / ".staging").exists())

    def test_a_file_system_without_renames_that_do_not_replace(self):
        """As NFS: the same events, and still nothing is overwritten."""
        work = family.workdir(self)
        old = shim.Shim(self, work)
        old.fail("shardcap-shard", "renameat2", 1, errno.EINVAL, ever=True)
        run = self.watched("-shards=2", env=old.env)
        self.assertGreaterEqual(old.calls, 50)
        self.assertEqual(run.summary()["drops"], {})

    def test_staging_inside_the_tree(self):
        run = self.watched("-shards=2", "-stream=true", inside=True)
        self.assertTrue((run.datadir / ".staging").is_dir())


class Salvage(Live):
    def test_a_family_that_was_killed_as_a_whole(self):
        """What stood in staging is published by the next start, ended where it was cut; the judge counts it apart."""
        run = self.start("-stream=true", "-shards=2", "-captureduration=30s", "-flowtimeout=10s", "-gzip=zlib")
        with self.held() as talk:
            talk(1500)
            run.until(lambda: [p for p in run.leftovers() if os.path.getsize(p) > 2000], "a stream is being written")
            pids = [p for pids in run.children().values() for p in pids] + [run.supervisor()]
            for pid in pids:  # stopped first, so that nobody sees another one go
                os.kill(pid, signal.SIGSTOP)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            run.process.wait()
            self.assertEqual(len(run.leftovers()), 1)
            self.assertEqual(run.files(), {})
        again = family.Family(self, "-interface=veth0", f"-tcpinfo.eventsocket={self.events.path}", "-shards=1",
                              namespace=self.a.name, work=self.work, datadir=self.work / "disk" / "data").ready()
        again.until(lambda: again.metric("shardcap_salvaged_files_total") == 1, "it is published")
        files = again.files()
        self.assertEqual(len(files), 1)
        packets = sum(len(f.records) for f in files.values())
        self.assertGreater(packets, 100)
        self.assertEqual(again.metric("shardcap_salvaged_packets_total"), packets)
        self.assertIn(f"salvaged {packets} packets in 1 files", again.verify())
        self.assertEqual(again.stop(), 0, again.log)
        self.assertTrue(again.said("a cut file of a predecessor was ended and published"), again.log)
        self.assertEqual(again.leftovers(), [])
        again.verify("-summary", again.summary_file)


class Limits(unittest.TestCase):
    def read(self, *args, count=40):
        flows = [g.Flow(i) for i in range(count)]
        packets = g.interleave(*[f.conversation(g.START + f.ident * 1000) for f in flows])
        work = family.workdir(self)
        path = g.write(work / "in.pcap", g.pcap(packets))
        run = family.read_savefile(self, path, "-shards=2", *args, flows=flows, work=work)
        return run, run.summary(), len(packets)

    def test_maxpackets(self):
        run, summary, total = self.read("-maxpackets=5")
        self.assertEqual(summary["drops"], {"capture_limit": total - 40 * 5})
        self.assertEqual(summary["packets"]["lost"], 0)
        self.assertEqual({len(f.records) for f in run.files().values()}, {5})

    def test_maxfilesize(self):
        run, summary, total = self.read("-maxfilesize=700")
        sizes = [len(f.raw) for f in run.files().values()]
        self.assertEqual(len(sizes), 40)
        self.assertLessEqual(max(sizes), 700)
        self.assertGreater(min(sizes), 700 - 16 - 94)
        self.assertEqual(summary["drops"], {"capture_limit": total - summary["packets"]["saved"]})

    def test_sample(self):
        """About one flow of four, each whole or not at all, and counted as asked for."""
        run, summary, total = self.read("-sample=1/4", count=400)
        each = total // 400
        self.assertEqual({len(f.records) for f in run.files().values()}, {each})
        self.assertEqual(summary["drops"], {"sampled": total - summary["files"] * each})
        self.assertEqual(summary["packets"]["lost"], 0)
        self.assertGreater(summary["files"], 50)
        self.assertLess(summary["files"], 160)


class Retention(Live):
    def test_keep_removes_what_is_old_and_maxdisk_pauses(self):
        """Of what is old only files of ours go, by name and by what is in them."""
        run = self.start("-keep=2h", "-maxdisk=2MB", "-shards=2")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 1, "a file of ours")
        (ours,) = (run.datadir / name for name in run.files())
        old = run.datadir / "2020" / "01" / "02"
        old.mkdir(parents=True)
        os.chmod(old, 0o777)
        now = datetime.datetime.now().timestamp()
        others = [p.data for p in g.Flow(1).conversation(g.START)]
        for name, data, age in (("a.pcap.gz", ours.read_bytes(), 3 * 3600), ("b.pcap.gz", bytes(3_000_000), 1800),
                                ("c.txt", b"mine", 3 * 3600), ("d.pcap.gz", gzip.compress(b"".join(others)), 3 * 3600),
                                ("e.pcap", g.pcap(g.Flow(1).conversation(g.START)), 3 * 3600),
                                ("f.1.pcap.gz", ours.read_bytes(), 3 * 3600)):
            (old / name).write_bytes(data)
            os.utime(old / name, (now - age, now - age))
        run.until(lambda: run.metric("shardcap_removed_files_total") == 2, "the old ones go")
        self.assertEqual(sorted(p.name for p in old.iterdir()), ["b.pcap.gz", "c.txt", "d.pcap.gz", "e.pcap"])
        run.until(lambda: run.metric("shardcap_disk_paused") == 2, "both shards take no new flow")
        self.fetch()
        limit = 'shardcap_dropped_packets_total{cause="capture_limit",class="limit"}'
        run.until(lambda: run.metrics()[limit] > 0, "packets of a new flow are counted as asked for")
        self.assertEqual(run.metric("shardcap_files_total"), 1)
        (old / "b.pcap.gz").unlink()
        run.until(lambda: run.metric("shardcap_disk_paused") == 0, "the uploader has made room")
        self.fetch()
        run.until(lambda: run.metric("shardcap_files_total") == 2, "a file")
        self.assertEqual(run.metric("shardcap_removed_files_total"), 2)
        for p in old.iterdir():
            p.unlink()
        self.assertEqual(run.stop(), 0, run.log)
        self.assertEqual(run.summary()["packets"]["lost"], 0)


if __name__ == "__main__":
    unittest.main()
