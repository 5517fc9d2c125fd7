"""`pip install .` into an empty virtual environment, and a first run there."""

import os
import subprocess
import sys
import unittest

from helpers import FolderTest, ROOT

PROGRAM = """
import numpy as np
import dividenconquer as dnc
x = np.arange(3000, dtype=np.float32).reshape(1000, 3)
dnc.upload((x, np.arange(1000) % 2), "shards", batches=4, progress=False)
batch = dnc.download_first("shards")
batches = 0
while batch is not None:
    np.testing.assert_array_equal(batch.x, x[batches * 250:batches * 250 + 250])
    batches += 1
    batch = dnc.download_next()
assert batches == 4
assert sum(len(y) for _, y in dnc.stream("shards", epochs=2)) == 2000
print(dnc.__file__)
"""


class InstallTest(FolderTest):
    def run_clean(self, *command, timeout=1200):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # The compiler under the name by which the other builds call it: ccache goes by names.
        environment.update(CC="cc", CXX="c++")
        return subprocess.run(command, cwd=self.folder, env=environment, text=True,
                              capture_output=True, timeout=timeout)

    def test_in_an_empty_environment(self):
        made = self.run_clean(sys.executable, "-m", "venv", self.path("venv"))
        if made.returncode != 0:
            self.skipTest("no virtual environment (python3-venv): " + made.stdout[-500:])
        python = self.path("venv", "bin", "python")
        # The build back end and NumPy come from the registry.
        reached = self.run_clean(python, "-m", "pip", "download", "--no-deps", "-q", "-d",
                                 self.folder, "scikit-build-core", timeout=120)
        if reached.returncode != 0:
            self.skipTest("the Python registry cannot be reached: " + reached.stderr[-500:])
        installed = self.run_clean(python, "-m", "pip", "install", "-q", ROOT)
        self.assertEqual(installed.returncode, 0, installed.stdout + installed.stderr)
        ran = self.run_clean(python, "-c", PROGRAM)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn(self.path("venv"), ran.stdout)


if __name__ == "__main__":
    unittest.main()
