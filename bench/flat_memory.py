#!/usr/bin/env python3
"""Streams generated samples through a small budget, over HTTP on loopback, and draws the
process's memory and the cache's size over time: docs/flat_memory.svg.

    python3 bench/flat_memory.py --dnc build/release/bin/dnc --gigabytes 20

The data is one gigabyte of samples that do not compress, divided once and streamed epoch
after epoch, each in an order of its own. Standard library only."""

import argparse
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

SAMPLE_BYTES = 4096
DATA_BYTES = 10**9
MIB = 1 << 20


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.translate_path(self.path)
        try:
            file = open(path, "rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            first, end = 0, size
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if asked:
                first, end = int(asked.group(1)), min(size, int(asked.group(2) or size - 1) + 1)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(end - first))
            self.end_headers()
            self.wfile.flush()
            while first < end:
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, end - first)


def write_samples(path):
    """uint8 of (n, 4096), as .npy."""
    count = DATA_BYTES // SAMPLE_BYTES
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {SAMPLE_BYTES}), }}"
    head = head.ljust(117) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        for begin in range(0, count, 4096):
            file.write(os.urandom((min(count, begin + 4096) - begin) * SAMPLE_BYTES))


def resident_bytes(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) << 10
    except (OSError, AttributeError):
        return None


def draw(points, budget_bytes, title, path):
    """`points`: (seconds, resident bytes, cache bytes)."""
    width, height, left, top = 860, 340, 60, 40
    seconds = max(points[-1][0], 1e-9)
    most = 1.15 * max(max(max(r, d) for _, r, d in points), budget_bytes + 16 * MIB)

    def at(second, value):
        return (f"{left + second / seconds * (width - left - 20):.1f},"
                f"{top + (1 - value / most) * (height - top - 40):.1f}")

    def line(index, color):
        text = " ".join(at(point[0], point[index]) for point in points)
        return f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{text}"/>'

    def level(value, label, color, dash):
        x1, y = at(0, value).split(",")
        x2, _ = at(seconds, value).split(",")
        return (f'<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" stroke="{color}" '
                f'stroke-dasharray="{dash}"/><text x="{left + 6}" y="{float(y) - 4:.1f}" '
                f'fill="{color}">{label}</text>')

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="{left}" y="20" font-size="14">{title}</text>']
    for i in range(6):
        value = most * i / 6
        parts.append(f'<text x="{left - 6}" y="{float(at(0, value).split(",")[1]) + 4:.1f}" '
                     f'text-anchor="end">{value / MIB:.0f}</text>')
        x = float(at(seconds * i / 5, 0).split(",")[0])
        parts.append(f'<text x="{x:.1f}" y="{height - 22}" text-anchor="middle">'
                     f'{seconds * i / 5:.0f}</text>')
    parts += [f'<text x="{width / 2}" y="{height - 5}" text-anchor="middle">seconds</text>',
              f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})" '
              'text-anchor="middle">MiB</text>',
              level(budget_bytes, "memory budget", "#888888", "4 4"),
              line(1, "#1f77b4"), line(2, "#ff7f0e"),
              f'<text x="{width - 230}" y="{top + 14}" fill="#1f77b4">resident memory, whole '
              'process</text>',
              f'<text x="{width - 230}" y="{top + 30}" fill="#ff7f0e">cache on disk</text>',
              '</svg>\n']
    with open(path, "w") as file:
        file.write("\n".join(parts))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dnc", required=True)
    parser.add_argument("--gigabytes", type=int, default=20)
    parser.add_argument("--memory", type=int, default=64, help="MiB")
    parser.add_argument("--disk", type=int, default=32, help="MiB")
    parser.add_argument("--svg", default=os.path.join(os.path.dirname(__file__), "..", "docs",
                                                      "flat_memory.svg"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dnc-flat-", dir="/var/tmp") as folder:
        source = os.path.join(folder, "x.npy")
        shards = os.path.join(folder, "shards")
        cache = os.path.join(folder, "cache")
        write_samples(source)
        subprocess.run([options.dnc, "divide", source, "--to", shards, "--compression", "none"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.remove(source)
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, directory=shards))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [options.dnc, "stream", f"http://127.0.0.1:{server.server_address[1]}",
             "--epochs", str(options.gigabytes * 10**9 // DATA_BYTES), "--json",
             "--memory", f"{options.memory}MiB", "--disk", f"{options.disk}MiB",
             "--cache", cache], stdout=subprocess.PIPE, text=True)
        begin = time.monotonic()
        points = []
        while process.poll() is None:
            memory = resident_bytes(process.pid)
            try:
                disk = os.stat(os.path.join(cache, "leaves.dnc")).st_size
            except FileNotFoundError:
                disk = 0
            if memory:
                points.append((time.monotonic() - begin, memory, disk))
            time.sleep(0.2)
        report = json.load(process.stdout)
        server.shutdown()
    if process.returncode != 0:
        sys.exit(process.returncode)
    title = (f"{report['raw_bytes'] / 1e9:.0f} GB of samples through {options.memory} MiB of memory "
             f"and {options.disk} MiB of disk, from HTTP on loopback")
    draw(points, options.memory * MIB, title, options.svg)
    settled = [memory for second, memory, _ in points if second > points[-1][0] / 10]
    print(json.dumps({
        "gigabytes": report["raw_bytes"] / 1e9, "seconds": report["seconds"],
        "bytes_per_second": report["bytes_per_second"],
        "idle_mib": report["memory"]["idle_bytes"] / MIB,
        "resident_peak_mib": report["memory"]["resident_peak_bytes"] / MIB,
        "resident_least_after_a_tenth_mib": min(settled) / MIB,
        "resident_most_after_a_tenth_mib": max(settled) / MIB,
        "cache_most_mib": max(disk for _, _, disk in points) / MIB}, indent=1))


if __name__ == "__main__":
    main()
