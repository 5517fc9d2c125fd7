"""What the tests of the package share."""

import http.server
import os
import shutil
import struct
import tempfile
import threading
import unittest
import zlib

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED_DATA = os.environ.get("DNC_SHARED_DATA", os.path.join(os.path.dirname(ROOT), "shared", "data"))


class FolderTest(unittest.TestCase):
    """A test with a folder of its own, `self.folder`, gone afterwards."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dnc-python-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)


def numbered(samples, width=3):
    """x: uint8 (samples, width), every sample unlike its neighbours; y: int64, i % 10."""
    i = np.arange(samples)
    x = np.stack([(i * (7 + 2 * k) + i // 256) % 256 for k in range(width)], axis=1)
    return x.astype(np.uint8), i % 10


def png(pixels):
    """uint8 (height, width, 3) as a PNG file."""
    def chunk(kind, body):
        return (struct.pack(">I", len(body)) + kind + body
                + struct.pack(">I", zlib.crc32(kind + body)))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # No filter.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


class GatedServer:
    """Serves a folder over HTTP on loopback; shards only once `gate` is set."""

    def __init__(self, folder):
        self.gate = threading.Event()
        self.asked = threading.Event()
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=folder)

            def do_GET(self):
                if not self.path.endswith(".json"):
                    outer.asked.set()
                    outer.gate.wait()
                super().do_GET()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # A client that went away.

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def open_when_asked(self):
        self.asked.wait()
        self.gate.set()

    def stop(self):
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
