"""The package's annotations hold, and a program that uses the package is understood."""

import os
import subprocess
import sys
import unittest

from helpers import FolderTest, ROOT

PROGRAM = """
import numpy as np
import dividenconquer as dnc

manifest: dnc.Manifest = dnc.upload("table.csv", to="./shards", label="y", batches=4)
batch = dnc.download_first(manifest)
while batch is not None:
    classes: "np.ndarray | None" = batch.classes
    batch = dnc.download_next()
with dnc.stream(manifest, batch_size=256, memory="64MiB", resize=(64, 64)) as batches:
    state: dict = batches.state_dict()
    for x, y in batches:
        features: np.ndarray = dnc.hog(x)
"""
MISTAKE = """
import dividenconquer as dnc

dnc.stream("./shards", batch_size="many")
"""


class TypesTest(FolderTest):
    def check(self, program, **options):
        with open(self.path("program.py"), "w") as file:
            file.write(program)
        # What mypy found out about NumPy stays for the next run: half a minute.
        return subprocess.run(
            [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--cache-dir",
             os.path.join(ROOT, "build", "mypy"), "dividenconquer", self.path("program.py")],
            cwd=os.path.join(ROOT, "python"), text=True, capture_output=True)

    def test_the_package_and_its_users_pass_mypy(self):
        checked = self.check(PROGRAM)
        if "No module named mypy" in checked.stderr:
            self.skipTest("mypy is not installed")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        checked = self.check(MISTAKE)
        self.assertEqual(checked.returncode, 1, checked.stderr)
        self.assertIn('"batch_size" to "stream"', checked.stdout)


if __name__ == "__main__":
    unittest.main()
