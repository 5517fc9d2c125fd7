"""The byte contract of `dnc stream`, measured from outside: over a dataset ten times as
large as its budgets together, with a slow link, a mirror of wrong bytes and kill -9, the
process stays within its memory and disk, and gives the samples that it gives undisturbed."""

import base64
import hashlib
import http.server
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import numpy

from harness import DNC, Case, die_with_parent

MIB = 1 << 20
MEMORY = 12 * MIB
DISK = 12 * MIB
SLACK = 16 * MIB  # Of the contract, beside the memory budget and the idle process.
SAMPLES = 60 * 1024
SAMPLE_BYTES = 4096 + 8
EPOCHS = 2
KILLS = 20


class Link:
    """A server of a folder: ranges, at most so many bytes a second over all connections,
    and, if `wrong`, with one byte changed in every third MiB of a shard. With `any_path`
    that is the answer to everything."""

    def __init__(self, folder, bytes_per_second=None, wrong=False, any_path=None):
        link = self
        self.sent = 0
        self.spoiled = 0
        self.stalled = threading.Event()  # Set: nothing is answered until it is cleared.
        self.lock = threading.Lock()
        self.due = time.monotonic()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                while link.stalled.is_set():
                    time.sleep(0.01)
                if any_path is not None:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(any_path)))
                    self.end_headers()
                    self.wfile.write(any_path)
                    return
                path = os.path.join(folder, os.path.basename(self.path))
                if not os.path.isfile(path):
                    self.send_error(404)
                    return
                size = os.path.getsize(path)
                first, end = 0, size
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked:
                    first = int(asked.group(1))
                    end = min(size, int(asked.group(2) or size - 1) + 1)
                    self.send_response(206)
                    self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
                else:
                    self.send_response(200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(end - first))
                self.end_headers()
                shard = not path.endswith(".json")
                with open(path, "rb") as file:
                    file.seek(first)
                    while first < end:
                        part = bytearray(file.read(min(64 << 10, end - first)))
                        link.wait(len(part), bytes_per_second)
                        if wrong and shard and (first >> 20) % 3 == 0 and first % MIB == 0:
                            part[len(part) // 2] ^= 0x10
                            link.spoiled += 1
                        try:
                            self.wfile.write(part)
                        except OSError:  # Who asked was killed.
                            self.close_connection = True
                            return
                        first += len(part)
                        link.sent += len(part)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # Who asked was killed.

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, bytes_per_second):
        if bytes_per_second is None:
            return
        with self.lock:
            now = time.monotonic()
            self.due = max(self.due, now) + count / bytes_per_second
            rest = self.due - now
        if rest > 0.002:
            time.sleep(rest)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def status_bytes(pid, field):
    """VmRSS or VmHWM of a process; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/status") as file:
            found = re.search(field + r":\s+(\d+) kB", file.read())
    except OSError:
        return 0
    return int(found.group(1)) << 10 if found else 0


def stored_bytes(folder):
    """Of all files below a folder, what they take on the disk, or their length if that is
    more."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                info = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            total += max(info.st_blocks * 512, info.st_size)
    return total


class MemoryGroup:
    """A cgroup that ends whoever takes more than `bytes_max`: version 2, else version 1;
    None where this user may make neither."""

    KINDS = (("/sys/fs/cgroup", "memory.max", "memory.swap.max"),
             ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", None))

    @classmethod
    def make(cls, name, bytes_max):
        for root, limit, swap in cls.KINDS:
            path = os.path.join(root, name)
            try:
                os.mkdir(path)
            except OSError:
                continue
            group = cls()
            group.path = path
            try:
                with open(os.path.join(path, limit), "w") as file:
                    file.write(str(bytes_max))
                if swap:
                    with open(os.path.join(path, swap), "w") as file:
                        file.write("0")
                return group
            except OSError:  # The controller is not there.
                group.remove()
        return None

    def join(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))

    def remove(self):
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.05)


class Watch:
    """The peaks of a process and of the folders that it writes to, polled."""

    def __init__(self, pid, folders):
        self.pid = pid
        self.folders = folders
        self.memory = 0
        self.disk = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            self.memory = max(self.memory, status_bytes(self.pid, "VmHWM"))
            self.disk = max(self.disk, sum(map(stored_bytes, self.folders)))
            self.ended.wait(0.005)

    def stop(self):
        self.ended.set()
        self.thread.join()


class ByteContract(Case):
    def setUp(self):
        super().setUp()
        # Nothing of this compresses: what is stored is as large as what it holds.
        generator = numpy.random.default_rng(11)
        x = generator.integers(0, 256, (SAMPLES, SAMPLE_BYTES - 8), dtype=numpy.uint8)
        self.assertGreaterEqual(x.nbytes, 10 * (MEMORY + DISK))
        numpy.save(self.path("x.npy"), x)
        numpy.save(self.path("y.npy"), numpy.arange(SAMPLES, dtype=numpy.int64))
        del x
        self.run_dnc("divide", self.path("x.npy"), "--labels", self.path("y.npy"),
                     "--to", self.path("shards"), "--compression", "none")
        os.remove(self.path("x.npy"))
        os.mkdir(self.path("tmp"))
        self.group = None
        self.idle = self.idle_bytes()
        self.group = MemoryGroup.make(f"dnc-test-{os.getpid()}", self.idle + MEMORY + SLACK)
        if self.group:
            self.addCleanup(self.group.remove)
        self.runs = 0

    def link(self, **options):
        link = Link(self.path("shards"), **options)
        self.addCleanup(link.close)
        return link

    def command(self, *arguments):
        return [DNC, "stream", *map(str, arguments), "--epochs", str(EPOCHS), "--seed", "5",
                "--memory", str(MEMORY), "--disk", str(DISK), "--batch-size", "64", "--json"]

    def idle_bytes(self):
        """Resident memory of a process that has not been answered yet."""
        link = self.link()
        link.stalled.set()
        process = subprocess.Popen(self.command(link.url), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, preexec_fn=die_with_parent,
                                   env=self.environment())
        self.processes.append(process)
        seen = []
        while len(seen) < 10 or seen[-1] != seen[-10]:
            self.assertIsNone(process.poll())
            seen.append(status_bytes(process.pid, "VmRSS"))
            time.sleep(0.02)
        process.kill()
        process.wait()
        link.stalled.clear()
        return seen[-1]

    def confine(self):
        die_with_parent()
        if self.group:
            self.group.join()
        # A file that grows beyond the budget for a moment is an end by SIGXFSZ.
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))

    def stream(self, *arguments, end_after=None):
        """Runs to the end, or kills after so many seconds; returns what it reported (None
        if killed) and its samples: (epoch, number, hash)."""
        self.runs += 1
        trace = self.path(f"trace{self.runs}")
        cache = self.path("cache")
        process = subprocess.Popen(
            self.command(*arguments, "--trace", trace, "--cache", cache), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=self.confine,
            env={**self.environment(), "TMPDIR": self.path("tmp")})
        self.processes.append(process)
        watch = Watch(process.pid, (cache, self.path("tmp")))
        killed = False
        try:
            out, err = process.communicate(timeout=end_after or 200)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            killed = end_after is not None
            self.assertTrue(killed, "it does not end: " + err)
        watch.stop()
        self.assertEqual(process.returncode, -signal.SIGKILL if killed else 0, err)
        self.assertLessEqual(watch.memory, self.idle + MEMORY + SLACK)
        self.assertLessEqual(watch.disk, DISK)
        samples = []
        if os.path.exists(trace):
            with open(trace) as file:
                lines = file.read().split("\n")
            # What was being written when it was killed is no line yet.
            for line in lines[:-1]:
                epoch, number, digest = line.split()
                samples.append((int(epoch), int(number), digest))
            os.remove(trace)
        if killed:
            return None, samples
        report = json.loads(out)
        self.assertLessEqual(report["memory"]["idle_bytes"], self.idle)
        self.assertLessEqual(report["memory"]["resident_peak_bytes"],
                             report["memory"]["idle_bytes"] + MEMORY + SLACK)
        self.assertGreaterEqual(watch.memory, MEMORY // 2, "nothing was measured")
        self.assertGreaterEqual(watch.disk, DISK // 2, "nothing was measured")
        return report, samples

    def undisturbed(self):
        """The sequence of samples of an unlimited link."""
        report, samples = self.stream(self.link().url)
        self.assertEqual(report["samples"], SAMPLES * EPOCHS)
        self.assertEqual([(epoch, number) for epoch, number, _ in samples],
                         [(epoch, i) for epoch in range(EPOCHS) for i in range(SAMPLES)])
        epochs = [[digest for epoch, _, digest in samples if epoch == e] for e in range(EPOCHS)]
        self.assertEqual(len(set(epochs[0])), SAMPLES)
        self.assertEqual(set(epochs[0]), set(epochs[1]))
        self.assertNotEqual(epochs[0], epochs[1])
        return samples

    def test_a_slow_link_and_a_mirror_of_wrong_bytes_change_no_sample(self):
        expected = self.undisturbed()
        os.remove(self.path("cache", "leaves.dnc"))
        good = self.link(bytes_per_second=60e6)
        wrong = self.link(wrong=True)
        report, samples = self.stream(wrong.url, "--mirror", good.url)
        self.assertTrue(samples == expected)
        self.assertGreater(wrong.spoiled, 0)
        self.assertGreater(report["leaves_rejected"], 0)
        # Later epochs save what the disk holds.
        self.assertGreater(report["cache_bytes"], DISK // 2)

    def test_a_process_killed_twenty_times_gives_the_same_samples(self):
        expected = self.undisturbed()
        os.remove(self.path("cache", "leaves.dnc"))
        link = self.link(bytes_per_second=100e6)
        dice = random.Random(17)
        given = []
        arguments = (link.url, "--state", self.path("state"), "--state-every", "0.05")
        for kill in range(KILLS):
            report, samples = self.stream(*arguments, end_after=dice.uniform(0.02, 0.9))
            if report is not None:
                self.fail(f"it ended before it was killed {kill + 1} times")
            self.follow(given, samples, expected)
        report, samples = self.stream(*arguments)
        self.follow(given, samples, expected)
        self.assertTrue(given == expected)

    def follow(self, given, samples, expected):
        """Puts a run's samples behind those of the runs before. It may give some of them
        again, those since its position was last written, but leaves none out."""
        if not samples:
            return
        epoch, number, _ = samples[0]
        begin = epoch * SAMPLES + number
        self.assertLessEqual(begin, len(given))
        self.assertTrue(samples == expected[begin:begin + len(samples)], f"from {begin} on")
        del given[begin:]
        given += samples


class Neighbours(Case):
    def free_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return taken.getsockname()[1]

    def get(self, url):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def test_two_machines_download_once(self):
        generator = numpy.random.default_rng(4)
        numpy.save(self.path("x.npy"), generator.integers(0, 256, (16384, 4096), dtype=numpy.uint8))
        self.run_dnc("divide", self.path("x.npy"), "--to", self.path("shards"),
                     "--compression", "none")
        with open(self.path("shards", "manifest.json")) as file:
            shards = json.load(file)["shards"]
        data = sum(shard["bytes"] for shard in shards)
        link = Link(self.path("shards"))
        self.addCleanup(link.close)
        order = ("--memory", "12MiB", "--seed", "3", "--digest", "--json")
        out, _ = self.run_dnc("stream", link.url, *order)
        alone = json.loads(out)
        self.assertEqual(alone["neighbour_bytes"], 0)

        link.sent = 0
        port = self.free_port()
        url = f"http://127.0.0.1:{port}"
        self.start_dnc("first", "stream", link.url, "--memory", "12MiB", "--epochs", "0", "--seed",
                       "8", "--cache", self.path("cache"), "--share", f"127.0.0.1:{port}")
        # All that it has not in memory for good.
        self.wait_until(lambda: stored_bytes(self.path("cache")) > 0.9 * data, "the first's cache")
        first_sent = link.sent
        self.assertLess(first_sent, 2 * data)

        out, _ = self.run_dnc("stream", link.url, "--neighbour", url, *order)
        second = json.loads(out)
        self.assertEqual(second["digest"], alone["digest"])
        self.assertGreater(second["neighbour_bytes"], 0.8 * data)
        self.assertLess(second["fetched_bytes"], 0.2 * data)
        self.assertEqual(second["leaves_rejected"], 0)

        # What it gives are blocks by their ids, and nothing else.
        status, block = self.get(url + "/ipfs/" + self.raw_cid("00" * 32) + "?format=raw")
        self.assertEqual(status, 404)
        for path in ("/", "/ipfs/", "/ipfs/..%2fmanifest.json", "/manifest.json",
                     "/ipfs/" + shards[0]["cid"]):
            self.assertEqual(self.get(url + path)[0], 404, path)
        found = 0
        leaves = shards[0]["leaves"]
        for leaf in (leaves[i:i + 64] for i in range(0, len(leaves), 64)):
            status, block = self.get(f"{url}/ipfs/{self.raw_cid(leaf)}?format=raw")
            self.assertIn(status, (200, 404))
            if status == 200:
                self.assertEqual(hashlib.sha256(block).hexdigest(), leaf)
                found += 1
        self.assertGreater(found, 0)

    def raw_cid(self, digest):
        binary = b"\x01\x55\x12\x20" + bytes.fromhex(digest)
        return "b" + base64.b32encode(binary).decode().lower().rstrip("=")

    def test_a_neighbour_that_is_gone_or_lies_costs_nothing_but_a_question(self):
        generator = numpy.random.default_rng(4)
        numpy.save(self.path("x.npy"), generator.integers(0, 256, (4096, 4096), dtype=numpy.uint8))
        self.run_dnc("divide", self.path("x.npy"), "--to", self.path("shards"))
        link = Link(self.path("shards"))
        self.addCleanup(link.close)
        os.mkdir(self.path("lies"))
        lies = Link(self.path("lies"), any_path=b"these are the bytes of no leaf")
        self.addCleanup(lies.close)
        order = ("--memory", "12MiB", "--digest", "--json")
        out, _ = self.run_dnc("stream", link.url, *order)
        alone = json.loads(out)
        for url in (f"http://127.0.0.1:{self.free_port()}", lies.url):
            out, _ = self.run_dnc("stream", link.url, "--neighbour", url, *order)
            report = json.loads(out)
            self.assertEqual(report["digest"], alone["digest"])
            self.assertEqual(report["neighbour_bytes"], 0)

    def test_sharing_what_is_not_kept_is_refused(self):
        manifest = self.divide_images()
        self.refuse(2, "stream", manifest, "--share", "127.0.0.1:0", says=("--share", "--disk"))


if __name__ == "__main__":
    unittest.main()
