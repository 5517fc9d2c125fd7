"""The notebooks, run headless from their first cell to their last."""

import os
import tempfile
import unittest

from helpers import ROOT, SHARED_DATA


class NotebooksTest(unittest.TestCase):
    def run_notebook(self, name, data):
        if not os.path.isdir(os.path.join(SHARED_DATA, data)):
            self.skipTest(f"no folder {os.path.join(SHARED_DATA, data)}; set DNC_SHARED_DATA")
        try:
            import nbclient
            import nbformat
        except ImportError as missing:
            self.skipTest(f"{missing}; install python3-nbclient and python3-ipykernel")
        folder = os.path.join(ROOT, "examples", "notebooks")
        notebook = nbformat.read(os.path.join(folder, name), as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                # What is committed must be the same on every machine.
                self.assertNotIn("/home/", str(output))
                self.assertNotIn(ROOT, str(output))
        os.environ["DNC_SHARED_DATA"] = SHARED_DATA
        os.environ["IPYTHONDIR"] = self.enterContext(tempfile.TemporaryDirectory())
        os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # The kernel prints a hint else.
        client = nbclient.NotebookClient(notebook, timeout=600,
                                         resources={"metadata": {"path": folder}})
        client.execute()  # Raises what a cell raises: the notebooks assert what they claim.

    def test_diabetes(self):
        self.run_notebook("diabetes.ipynb", "pima")

    def test_photos(self):
        self.run_notebook("photos.ipynb", "clothing")


if __name__ == "__main__":
    unittest.main()
