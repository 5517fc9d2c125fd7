"""`dnc cid`: the ids that IPFS gives."""

import os
import subprocess
import unittest

from harness import Case

KUBO = os.path.join(os.environ.get("DNC_SERVERS") or os.path.expanduser("~/.cache/dnc-servers"),
                    "ipfs")


class Cid(Case):
    def cid(self, *arguments):
        return self.run_dnc("cid", *arguments)[0].split()[0]

    def test_names_what_everyone_knows(self):
        # The empty file and "hello world\\n" as single raw leaves; the empty folder.
        self.write("empty", "")
        self.write("hello", "hello world\n")
        os.mkdir(self.path("folder"))
        self.assertEqual(self.cid(self.path("empty")),
                         "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")
        self.assertEqual(self.cid(self.path("hello")),
                         "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4")
        self.assertEqual(self.cid(self.path("folder")),
                         "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")

    def test_names_trees_as_kubo_does(self):
        if not os.access(KUBO, os.X_OK):
            self.skipTest("no IPFS node; run tests/servers/install.sh")
        environment = dict(os.environ, IPFS_PATH=self.path("repo"))
        subprocess.run([KUBO, "init", "--empty-repo", "--profile=unixfs-v1-2025,test"],
                       env=environment, check=True, capture_output=True)
        tree = self.path("tree")
        os.makedirs(os.path.join(tree, "a", "b"))
        os.symlink("../x", os.path.join(tree, "a", "link"))
        self.write("tree/a/b/.hidden", "hi\n")
        for name, size in (("large", (3 << 20) + 1), ("leaf", 1 << 20), ("nothing", 0)):
            with open(os.path.join(tree, name), "wb") as file:
                file.write(os.urandom(size))
        for theirs, ours in (([], []), (["--hidden"], ["--hidden"])):
            expected = subprocess.run([KUBO, "add", "-Q", "-r", "--only-hash", *theirs, tree],
                                      env=environment, check=True, capture_output=True, text=True)
            self.assertEqual(self.cid(*ours, tree), expected.stdout.strip())

    def test_says_what_is_missing(self):
        self.refuse(3, "cid", self.path("nowhere"), says=["nowhere: no such file or folder"])


if __name__ == "__main__":
    unittest.main()
