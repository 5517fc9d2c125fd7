"""examples/clothing on the real photos; skipped where they are not there."""

import json
import os
import subprocess
import sys
import unittest

from harness import ROOT, Case

DATA = os.path.join(os.environ.get("DNC_SHARED_DATA",
                                   os.path.join(os.path.dirname(ROOT), "shared", "data")),
                    "clothing")


class Clothing(Case):
    @unittest.skipUnless(os.path.isdir(os.path.join(DATA, "train")), f"no photos in {DATA}")
    def test_hog_and_mlp_learn_and_report(self):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "examples", "clothing", "train.py"), "hog",
             "--data", DATA, "--work", self.path("work"), "--epochs", "4"],
            capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("work", "summary.json")) as file:
            figures = json.load(file)["figures"]
        self.assertGreater(figures["accuracy"], 0.55)
        with open(self.path("work", "report.html")) as file:
            page = file.read()
        for part in ("Confusion", "<svg", "t-shirt", "peak memory"):
            self.assertIn(part, page)

    def test_a_folder_without_photos_is_named(self):
        done = subprocess.run(
            [sys.executable, os.path.join(ROOT, "examples", "clothing", "train.py"), "cnn",
             "--data", self.path("none"), "--work", self.path("work")],
            capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("none has no folder train", done.stderr)
