"""What the end-to-end tests share: running dnc, servers and providers as processes, and
small generated data. Every process that a test starts ends with it."""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import numpy

BIN = os.environ.get("DNC_BIN") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bin")
DNC = os.path.join(BIN, "dnc")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PASSWORD = "correct horse battery"
PR_SET_PDEATHSIG = 1


def shared_data(*parts):
    """A path in the shared test data; None where it is absent."""
    base = os.environ.get("DNC_SHARED_DATA", os.path.join(ROOT, "..", "shared", "data"))
    path = os.path.join(base, *parts)
    return path if os.path.exists(path) else None


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def dense_model(inputs=(8, 8), classes=3, hidden=16, optimizer=None):
    """A small classifier as Keras's JSON, with its compile section."""
    layers = [
        {"class_name": "InputLayer",
         "config": {"batch_input_shape": [None, *inputs], "dtype": "float32", "name": "input"}},
        {"class_name": "Rescaling", "config": {"name": "rescaling", "scale": 1 / 255, "offset": 0.0}},
        {"class_name": "Flatten", "config": {"name": "flatten"}},
        {"class_name": "Dense",
         "config": {"name": "hidden", "units": hidden, "activation": "relu"}},
        {"class_name": "Dropout", "config": {"name": "dropout", "rate": 0.25}},
        {"class_name": "Dense",
         "config": {"name": "output", "units": classes, "activation": "softmax"}},
    ]
    return {"class_name": "Sequential", "config": {"name": "small", "layers": layers},
            "compile": {"optimizer": optimizer or {"class_name": "SGD", "learning_rate": 0.05,
                                                   "momentum": 0.9},
                        "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}}


def images(count, classes=3, seed=7, side=8):
    """Noisy images whose brightest rows tell their class: learnable in an epoch or two."""
    random = numpy.random.default_rng(seed)
    y = random.integers(0, classes, count).astype(numpy.uint8)
    x = random.integers(0, 120, (count, side, side)).astype(numpy.uint8)
    for row in range(classes):
        x[y == row, row * side // classes:(row + 1) * side // classes, :] += 100
    return x, y


class Case(unittest.TestCase):
    """A test with a folder and a login of its own, whose processes end with it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dnc-e2e-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.processes = []
        self.addCleanup(self.end_processes)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))
        return self.path(name)

    def environment(self):
        return {**os.environ, "DNC_CONFIG_HOME": self.path("config"), "DNC_PASSWORD": PASSWORD}

    def run_dnc(self, *arguments, expect=0, timeout=120, env=None, **options):
        """Runs dnc to its end and checks its exit code; returns (stdout, stderr)."""
        done = subprocess.run([DNC, *map(str, arguments)], capture_output=True, text=True,
                              timeout=timeout, env={**self.environment(), **(env or {})},
                              preexec_fn=die_with_parent, **options)
        self.assertEqual(done.returncode, expect,
                         f"dnc {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}")
        return done.stdout, done.stderr

    def refuse(self, code, *arguments, says, **options):
        """Expects exit code `code` and one message that has every text of `says`."""
        _, err = self.run_dnc(*arguments, expect=code, **options)
        message = [line for line in err.splitlines() if line.startswith("dnc: ")]
        self.assertEqual(len(message), 1, err)
        for text in says:
            self.assertIn(text, message[0])
        return message[0]

    def start_dnc(self, name, *arguments, stdout=subprocess.DEVNULL, env=None):
        log = open(self.path(name + ".log"), "a")
        self.addCleanup(log.close)
        process = subprocess.Popen([DNC, *map(str, arguments)], text=True, stdout=stdout,
                                   stderr=log, env={**self.environment(), **(env or {})},
                                   preexec_fn=die_with_parent)
        self.processes.append(process)
        return process

    def log(self, name):
        with open(self.path(name + ".log")) as file:
            return file.read()

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()

    def wait_until(self, condition, what, timeout=60):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        self.fail(f"{what}: not within {timeout} s")

    # ---- Data and projects.

    def save_images(self, count=600, classes=3, prefix=""):
        x, y = images(count, classes)
        numpy.save(self.path(prefix + "x.npy"), x)
        numpy.save(self.path(prefix + "y.npy"), y)
        return self.path(prefix + "x.npy"), self.path(prefix + "y.npy")

    def divide_images(self, count=600, to="shards", split="train=0.8,validation=0.2"):
        x, y = self.save_images(count)
        self.run_dnc("divide", x, "--labels", y, "--to", self.path(to), "--split", split)
        return self.path(to, "manifest.json")

    def project(self, data="shards/manifest.json", model=None, fit=None, grid=None,
                model_path="model.json", **extra):
        self.write("model.json", model or dense_model())
        return self.write("project.json", {
            "name": "small", "model": model_path, "data": data,
            "fit": {"epochs": 2, "batch_size": 16, "seed": 3, **(fit or {})},
            "grid": {"total_tasks": 6, "task_size": 3, **(grid or {})}, **extra})

    # ---- The grid.

    def serve(self, *arguments, port=0, name="server"):
        """Starts a server on the state folder of this test; returns (process, url)."""
        process = self.start_dnc(name, "serve", "--listen", f"127.0.0.1:{port}",
                                 "--state", self.path("state"), *arguments,
                                 stdout=subprocess.PIPE)
        line = process.stdout.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        self.assertTrue(match, f"no address in {line!r}; {self.log(name)}")
        self.port = int(match.group(1))
        return process, match.group(0)

    def join(self, url, name, *arguments):
        return self.start_dnc(name, "join", url, "--cores", "1", "--name", name,
                              "--work-dir", self.path(name), *arguments)

    def submit(self, project):
        out, _ = self.run_dnc("submit", project, "--json")
        return json.loads(out)["project_id"]

    def status(self, project):
        out, _ = self.run_dnc("status", project, "--json")
        return json.loads(out)

    def wait_for_end(self, project, timeout=120):
        self.run_dnc("status", project, "--follow", timeout=timeout)


def weights_of(path):
    """Every dataset of a model.h5, by name, as bytes."""
    import h5py
    found = {}
    with h5py.File(path, "r") as file:
        file["model_weights"].visititems(
            lambda name, item: found.update({name: item[()].tobytes()})
            if isinstance(item, h5py.Dataset) else None)
    return found
