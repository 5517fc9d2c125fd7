#!/usr/bin/env python3
"""The main job on real data, on this machine: `make demo` runs it.

Divides Fashion-MNIST (Debian package dataset-fashion-mnist), starts a management
server, creates an account, submits a CNN, lets two resource providers train it,
downloads model.h5 and evaluates it on the 10,000 test images. Everything lies in
build/demo; every process that it starts, it stops. Exit code 0 only if the accuracy
on the test images is at least 0.88.
"""

import ctypes
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time

ACCURACY_MIN = 0.88
PROVIDERS = 2
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DNC = os.path.join(ROOT, "build", "bin", "dnc")
WORK = os.path.join(ROOT, "build", "demo")
DATA = "/usr/share/datasets/fashion-mnist"
PROJECT = os.path.join(ROOT, "examples", "fashion_mnist", "project.json")
PR_SET_PDEATHSIG = 1

running = []  # Started in the background, stopped at the end, newest first.


class Failed(Exception):
    pass


def relative(path):
    return os.path.relpath(path)


def say(text):
    print(text, flush=True)


def environment():
    return {**os.environ, "DNC_CONFIG_HOME": os.path.join(WORK, "config"),
            "DNC_PASSWORD": PASSWORD}


PASSWORD = secrets.token_urlsafe(16)


def die_with_parent():
    """In the child: ends it if this script is killed without a chance to clean up."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def dnc(*arguments, capture=False):
    """Runs one command to its end; returns its stdout if `capture`."""
    command = [DNC, *arguments]
    say("$ dnc " + " ".join(relative(a) if a.startswith(ROOT) else a for a in arguments))
    done = subprocess.run(command, env=environment(), text=True, preexec_fn=die_with_parent,
                          stdout=subprocess.PIPE if capture else None)
    if done.returncode == 130:  # It got the Ctrl-C too.
        raise KeyboardInterrupt
    if done.returncode != 0:
        raise Failed(f"dnc {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout


def start(name, *arguments, **options):
    """Starts a command in the background; its messages go to build/demo/NAME.log."""
    say("$ dnc " + " ".join(relative(a) if a.startswith(ROOT) else a for a in arguments) + " &")
    with open(os.path.join(WORK, name + ".log"), "w") as log:
        process = subprocess.Popen([DNC, *arguments], env=environment(), text=True, stderr=log,
                                   preexec_fn=die_with_parent, **options)
    running.append((name, process))
    return process


class MemoryWatch(threading.Thread):
    """Peak resident memory (VmHWM) of processes and of their children, by name."""

    def __init__(self):
        super().__init__(daemon=True)
        self.roots = {}
        self.peaks = {}
        self.done = threading.Event()

    def watch(self, name, pid):
        self.roots[name] = pid

    def peak(self, name, pid):
        """Notes the peak of one process."""
        try:
            with open(f"/proc/{pid}/status") as file:
                fields = dict(line.split(":", 1) for line in file if ":" in line)
            # A child between fork and exec still counts its parent's memory as its own.
            if "VmHWM" in fields:
                label = name if fields["Name"].strip() == "dnc" else name + " trainer"
                kib = int(fields["VmHWM"].split()[0])
                self.peaks[label] = max(self.peaks.get(label, 0), kib)
        except (OSError, ValueError):
            pass  # It has just ended.

    def children(self, pid):
        """Of all threads: any of them may have started one."""
        found = []
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    found += [int(child) for child in file.read().split()]
        except OSError:
            pass
        return found

    def run(self):
        while not self.done.wait(0.2):
            for name, pid in list(self.roots.items()):
                self.peak(name, pid)
                for child in self.children(pid):
                    self.peak(name, child)


def stop_all():
    """SIGTERM to all that runs, newest first; SIGKILL to what does not end."""
    for _, process in reversed(running):
        if process.poll() is None:
            process.terminate()
    for name, process in reversed(running):
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            say(f"demo: {name} did not stop; killing it")
            process.kill()
            process.wait()
    running.clear()


def divide():
    for split, prefix, fractions in (("train", "train", "train=0.9,validation=0.1"),
                                     ("test", "t10k", "test=1")):
        dnc("divide", f"{DATA}/{prefix}-images-idx3-ubyte.gz",
            "--labels", f"{DATA}/{prefix}-labels-idx1-ubyte.gz",
            "--to", os.path.join(WORK, "data", split),
            "--name", f"fashion-mnist-{split}", "--split", fractions)


def serve(watch):
    server = start("server", "serve", "--listen", "127.0.0.1:0",
                   "--state", os.path.join(WORK, "state"), stdout=subprocess.PIPE)
    watch.watch("server", server.pid)
    line = server.stdout.readline()
    if "http://" not in line:
        raise Failed(f"the server did not start; see {relative(os.path.join(WORK, 'server.log'))}")
    return "http://" + line.split("http://", 1)[1].strip()


def main():
    started = time.monotonic()
    if not os.path.isdir(DATA):
        raise Failed(f"{DATA} is not there; run `make setup`, which installs dataset-fashion-mnist")
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    watch = MemoryWatch()
    watch.start()

    divide()
    url = serve(watch)
    dnc("signup", url, "--name", "demo")
    answer = json.loads(dnc("submit", PROJECT, "--json", capture=True))
    project = str(answer["project_id"])
    for number in range(1, PROVIDERS + 1):
        name = f"provider-{number}"
        provider = start(name, "join", url, "--cores", "1", "--name", name,
                         "--work-dir", os.path.join(WORK, name), stdout=subprocess.DEVNULL)
        watch.watch(name, provider.pid)
    training_started = time.monotonic()
    dnc("status", project, "--follow")
    training_seconds = time.monotonic() - training_started
    model = os.path.join(WORK, "model.h5")
    dnc("result", project, "--out", model)
    stop_all()
    result = json.loads(dnc("evaluate", model, "--data", os.path.join(WORK, "data", "test"),
                            "--split", "test", "--json", capture=True))
    watch.done.set()
    watch.join()

    summary = {"accuracy": result["accuracy"], "samples": result["samples"],
               "wall_seconds": time.monotonic() - started,
               "training_seconds": training_seconds, "peak_memory_kib": watch.peaks}
    with open(os.path.join(WORK, "summary.json"), "w") as file:
        json.dump(summary, file, indent=2)

    say("")
    say(f"accuracy on {result['samples']:,} test images   {result['accuracy']:.4f}"
        f"   (wanted: at least {ACCURACY_MIN})")
    say(f"wall time                         {summary['wall_seconds']:.1f} s, "
        f"of which training {training_seconds:.1f} s")
    for name in sorted(watch.peaks):
        say(f"peak memory of {name:<18} {watch.peaks[name] / 1024:.0f} MiB")
    say(f"the trained model                 {relative(model)}")
    say(f"shards, state and logs            {relative(WORK)}")
    return 0 if result["accuracy"] >= ACCURACY_MIN else 1


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    code = 1
    try:
        code = main()
    except Failed as error:
        print(f"demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ndemo: stopping", file=sys.stderr)
        code = 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_all()
    sys.exit(code)
