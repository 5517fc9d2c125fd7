"""Dividing on a Slurm cluster of one node and on a Dask cluster, by the scripts in examples/."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import numpy

from harness import DNC, ROOT, Case, die_with_parent

SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ReturnToService=2
SlurmdParameters=config_overrides
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class ScaleOut(Case):
    def setUp(self):
        super().setUp()
        generator = numpy.random.default_rng(2)
        self.x = generator.integers(0, 200, (61_000, 8)).astype(numpy.float32)
        self.x[:, 0] = numpy.arange(len(self.x))
        numpy.save(self.path("x.npy"), self.x)
        self.options = ["--split", "train=0.9,test=0.1", "--shard-bytes", "128KiB"]

    def start(self, name, *command, env=None):
        log = open(self.path(name + ".log"), "ab")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env,
                                   preexec_fn=die_with_parent)
        self.processes.append(process)
        return process

    def end_processes(self):
        for process in reversed(self.processes):  # In order: a clean end leaves nothing behind.
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                pass
        super().end_processes()

    def check_joined(self, to):
        """Every sample is there once, in the split that a single run puts it in."""
        self.run_dnc("verify", to)
        self.run_dnc("divide", self.path("x.npy"), *self.options, "--to", self.path("whole"))
        splits = []
        for place in (to, self.path("whole")):
            with open(os.path.join(place, "manifest.json")) as file:
                manifest = json.load(file)
            splits.append([(split["name"], split["samples"]) for split in manifest["splits"]])
            for split in manifest["splits"]:
                statistics = split["statistics"][0]
                splits[-1].append((round(statistics["element_mean"][0], 6), statistics["max"]))
        self.assertEqual(splits[0], splits[1])

    # ---- Slurm

    def start_slurm(self):
        for program in ("munged", "slurmctld", "slurmd", "sbatch"):
            if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None:
                self.skipTest(f"no {program}; install slurm-wlm and munge")
        if os.geteuid() != 0:
            self.skipTest("slurmd of a cluster of one's own needs root")
        # munged wants every folder on the way to its socket to be safe from others.
        os.chmod(self.folder, 0o755)
        folder = self.path("slurm")
        for name in ("", "state", "spool"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        with open(os.path.join(folder, "key"), "wb") as file:
            os.fchmod(file.fileno(), 0o400)
            file.write(os.urandom(1024))
        host = socket.gethostname().split(".")[0]
        conf = self.write("slurm/slurm.conf", SLURM_CONF.format(
            host=host, folder=folder, ports=free_ports(2)))
        env = {**os.environ, "SLURM_CONF": conf, "DNC": DNC,
               "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
        find = lambda name: shutil.which(name, path=env["PATH"])
        self.start("munged", find("munged"), "--foreground", "--force",
                   f"--socket={folder}/munge.socket", f"--key-file={folder}/key",
                   f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log",
                   f"--seed-file={folder}/munge.seed", env=env)
        self.wait_until(lambda: os.path.exists(f"{folder}/munge.socket"), "munged")
        self.start("slurmctld", find("slurmctld"), "-D", env=env)
        self.start("slurmd", find("slurmd"), "-D", "-N", host, env=env)
        self.wait_until(lambda: "idle" in subprocess.run(
            ["sinfo", "-h", "-o", "%t"], env=env, capture_output=True, text=True).stdout,
            "a Slurm node that is idle", timeout=30)
        return env

    def divide_on_slurm(self, env, source):
        return subprocess.run(
            [os.path.join(ROOT, "examples", "slurm", "divide.sh"), "3", source,
             self.path("shards"), *self.options], env=env, cwd=self.folder,
            capture_output=True, text=True, timeout=120)

    def test_a_slurm_array_divides_parts_and_joins_them(self):
        env = self.start_slurm()
        done = self.divide_on_slurm(env, self.path("x.npy"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(self.path("shards", "manifest.json"), done.stdout)
        self.check_joined(self.path("shards"))

    def test_a_part_that_fails_on_slurm_leaves_nothing_joined(self):
        env = self.start_slurm()
        done = self.divide_on_slurm(env, self.path("missing.npy"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("nothing was joined", done.stderr)
        self.assertFalse(os.path.exists(self.path("shards", "manifest.json")))

    # ---- Dask

    def start_dask(self):
        try:
            import distributed  # noqa: F401
        except ImportError as missing:
            self.skipTest(f"{missing}; install python3-distributed")
        scheduler = self.path("scheduler.json")
        python = [sys.executable, "-m"]
        self.start("scheduler", *python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
                   "--port", "0", "--no-dashboard", "--scheduler-file", scheduler)
        self.wait_until(lambda: os.path.exists(scheduler), "the Dask scheduler")
        for name in ("worker-1", "worker-2"):
            self.start(name, *python, "distributed.cli.dask_worker", "--scheduler-file", scheduler,
                       "--host", "127.0.0.1", "--no-nanny", "--nthreads", "1", "--no-dashboard",
                       "--local-directory", self.path(name), "--death-timeout", "60")
        return scheduler

    def divide_on_dask(self, scheduler, source):
        return subprocess.run(
            [sys.executable, os.path.join(ROOT, "examples", "dask", "divide.py"), source, "--to",
             self.path("shards"), "--parts", "3", "--scheduler", scheduler, "--dnc", DNC,
             *self.options], capture_output=True, text=True, timeout=120)

    def test_dask_workers_divide_parts_and_they_are_joined(self):
        done = self.divide_on_dask(self.start_dask(), self.path("x.npy"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("3 of 3", done.stdout)
        self.check_joined(self.path("shards"))

    def test_a_part_that_fails_on_dask_says_what_dnc_said(self):
        done = self.divide_on_dask(self.start_dask(), self.path("missing.npy"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("missing.npy", done.stderr)
        self.assertFalse(os.path.exists(self.path("shards", "manifest.json")))


if __name__ == "__main__":
    unittest.main()
