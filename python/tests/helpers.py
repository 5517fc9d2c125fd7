"""What the tests of the package share."""

import os
import shutil
import tempfile
import unittest

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
