"""Datasets on real servers: S3 and IPFS, where tests/servers/install.sh has built them."""

import json
import os
import socket
import subprocess
import time

import numpy

from harness import Case, die_with_parent, images

SERVERS = os.environ.get("DNC_SERVERS") or os.path.expanduser("~/.cache/dnc-servers")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class OnServers(Case):
    def server(self, name, arguments, port, env):
        """Starts a server and waits for its port; skips where it is not there."""
        program = os.path.join(SERVERS, name)
        if not os.access(program, os.X_OK):
            self.skipTest(f"no {program}; run tests/servers/install.sh")
        with open(self.path(name + ".log"), "w") as log:
            process = subprocess.Popen([program, *arguments], stdout=log, stderr=log,
                                       env={**os.environ, **env}, preexec_fn=die_with_parent)
        self.processes.append(process)

        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        self.wait_until(answers, name)

    def rows(self):
        x, y = images(2000)
        numpy.save(self.path("x.npy"), x)
        numpy.save(self.path("y.npy"), y)
        return ["divide", self.path("x.npy"), "--labels", self.path("y.npy"), "--shard-bytes",
                "64KiB"]

    def s3(self):
        port = free_port()
        os.makedirs(self.path("s3", "bucket"))
        os.makedirs(self.path("meta"))
        self.server("versitygw", ["--port", f"127.0.0.1:{port}", "--access", "key", "--secret",
                                  "secret", "--region", "us-east-1", "--quiet", "posix",
                                  "--sidecar", self.path("meta"), self.path("s3")], port, {})
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}

    def test_a_dataset_goes_to_s3_and_comes_back(self):
        env = self.s3()
        rows = self.rows()
        self.run_dnc(*rows, "--to", self.path("here"))
        self.run_dnc(*rows, "--to", "s3://bucket/there", env=env)
        # No second disk: the same objects, and nothing else.
        self.assertEqual(sorted(os.listdir(self.path("here"))),
                         sorted(os.listdir(self.path("s3", "bucket", "there"))))
        self.run_dnc("verify", "s3://bucket/there", env=env)
        self.run_dnc("export", "s3://bucket/there", "--to", "npz", self.path("a.npz"), env=env)
        numpy.testing.assert_array_equal(numpy.load(self.path("a.npz"))["x"],
                                         numpy.load(self.path("x.npy")))

    def test_links_that_were_signed_need_no_credentials(self):
        env = self.s3()
        self.run_dnc(*self.rows(), "--to", "s3://bucket/there", env=env)
        self.run_dnc("presign", "s3://bucket/there", "--out", self.path("links.json"), env=env)
        self.run_dnc("verify", self.path("links.json"),
                     env={"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
        self.refuse(4, "presign", "s3://bucket/there", "--out", self.path("links.json"), env=env,
                    says=["links.json", "already"])

    def test_killed_while_it_uploads_it_goes_on_to_the_same_objects(self):
        env = self.s3()
        rows = self.rows()
        self.run_dnc(*rows, "--to", self.path("here"))
        for wait in (0.05, 0.1, 0.2, 0.3, 0.4):
            process = self.start_dnc("killed", *rows, "--to", "s3://bucket/there", env=env)
            time.sleep(wait)
            process.kill()
            process.wait()
        if not os.path.exists(self.path("s3", "bucket", "there", "manifest.json")):
            self.run_dnc(*rows, "--to", "s3://bucket/there", env=env)
        for name in os.listdir(self.path("here")):
            with open(self.path("here", name), "rb") as one, \
                    open(self.path("s3", "bucket", "there", name), "rb") as other:
                self.assertEqual(one.read(), other.read(), name)

    def test_a_dataset_goes_to_ipfs_and_is_read_by_its_cid(self):
        api, gateway = free_port(), free_port()
        env = {"IPFS_PATH": self.path("repo")}
        program = os.path.join(SERVERS, "ipfs")
        if not os.access(program, os.X_OK):
            self.skipTest(f"no {program}; run tests/servers/install.sh")
        for arguments in (["init", "--empty-repo", "--profile=unixfs-v1-2025,test"],
                          ["config", "Addresses.API", f"/ip4/127.0.0.1/tcp/{api}"],
                          ["config", "Addresses.Gateway", f"/ip4/127.0.0.1/tcp/{gateway}"]):
            subprocess.run([program, *arguments], env={**os.environ, **env}, check=True,
                           capture_output=True)
        self.server("ipfs", ["daemon", "--offline"], api, env)
        self.run_dnc(*self.rows(), "--to", "ipfs://set", "--ipfs-api", f"http://127.0.0.1:{api}")
        out, _ = self.run_dnc(*self.rows(), "--to", "ipfs://set", "--overwrite", "--json",
                              "--ipfs-api", f"http://127.0.0.1:{api}")
        location = json.loads(out)["manifest"].rsplit("/", 1)[0]
        self.assertRegex(location, "^ipfs://bafy")
        self.run_dnc("verify", location, "--ipfs-gateway", f"http://127.0.0.1:{gateway}")


if __name__ == "__main__":
    import unittest
    unittest.main()
