"""Importing the package costs next to nothing, and brings no framework along."""

import subprocess
import sys
import unittest

PROGRAM = """
import sys
import dividenconquer as dnc
assert "numpy" not in sys.modules and "dividenconquer._native" not in sys.modules
assert dnc.__version__
for name in dnc.__all__:
    assert getattr(dnc, name) is not None, name
assert not {"torch", "sklearn", "keras", "tqdm", "pandas"} & set(sys.modules)
with open("/proc/self/maps") as file:
    assert "libtorch" not in file.read()
"""


class ImportTest(unittest.TestCase):
    def test_imports_what_is_used_when_it_is_used(self):
        ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
        self.assertEqual(ran.returncode, 0, ran.stderr)


if __name__ == "__main__":
    unittest.main()
