"""dnc convert and dnc inspect MODEL: every format into every other, beside real Keras."""

import filecmp
import json
import os
import subprocess

import h5py

from harness import Case, dense_model

PEER = os.environ.get("DNC_KERAS3", os.path.expanduser("~/.cache/dnc-keras3/bin/python"))


class Convert(Case):
    def convert(self, source, target, *arguments, **options):
        return self.run_dnc("convert", self.path(source), self.path(target), *arguments, **options)

    def same(self, a, b):
        self.assertTrue(filecmp.cmp(self.path(a), self.path(b), shallow=False), f"{a} and {b}")

    def test_every_way_around_ends_in_the_same_bytes(self):
        # An .h5 and a .json keep the text that they were given, a .keras has all options:
        # so this begins with a text that has them.
        self.write("short.json", dense_model())
        self.convert("short.json", "full.keras")
        self.convert("full.keras", "m.json")
        self.convert("m.json", "m.h5", "--seed", 3)
        self.convert("m.json", "other.h5", "--seed", 4)
        self.assertFalse(filecmp.cmp(self.path("m.h5"), self.path("other.h5"), shallow=False))
        self.convert("m.h5", "m.keras")
        self.convert("m.keras", "again.h5")
        self.same("m.h5", "again.h5")
        for ending in ("safetensors", "npz"):
            self.convert("m.keras", "w." + ending)
            self.convert("w." + ending, f"{ending}.h5", "--architecture", self.path("m.json"))
            self.same("m.h5", f"{ending}.h5")
            self.convert("m.json", f"{ending}.keras", "--weights", self.path("w." + ending))
            self.same("m.keras", f"{ending}.keras")
        self.convert("m.keras", "again.json")
        self.convert("again.json", "weights.h5", "--weights", self.path("m.keras"))
        self.same("m.h5", "weights.h5")
        self.convert("m.h5", "a.onnx")
        self.convert("m.keras", "b.onnx")
        self.same("a.onnx", "b.onnx")

    def test_takes_an_h5_of_weights_alone(self):
        self.write("m.json", dense_model())
        self.convert("m.json", "m.h5", "--seed", 3)
        with h5py.File(self.path("m.h5"), "r") as whole, h5py.File(self.path("w.h5"), "w") as file:
            for name, value in whole["model_weights"].attrs.items():
                file.attrs[name] = value
            for name in whole["model_weights"]:
                whole.copy(whole["model_weights"][name], file, name)
        self.convert("w.h5", "again.h5", "--architecture", self.path("m.json"))
        self.same("m.h5", "again.h5")

    def test_says_what_does_not_go_together(self):
        self.write("m.json", dense_model())
        self.convert("m.json", "m.h5")
        self.convert("m.h5", "w.npz")
        at = self.path
        self.refuse(2, "convert", at("m.h5"), at("m.txt"), says=["m.txt", ".safetensors"])
        self.refuse(2, "convert", at("w.npz"), at("a.h5"), says=["w.npz", "--architecture"])
        self.refuse(2, "convert", at("m.h5"), at("a.keras"), "--seed", 1, says=["--seed", "m.h5"])
        self.refuse(2, "convert", at("m.json"), at("a.h5"), "--seed", 1, "--weights", at("w.npz"),
                    says=["--weights", "--seed"])
        self.refuse(2, "convert", at("m.json"), at("a.h5"), "--architecture", at("m.json"),
                    says=["--architecture", "m.json"])
        self.refuse(3, "convert", at("no.h5"), at("a.h5"), says=["no.h5"])
        self.refuse(2, "convert", at("a.onnx"), at("a.h5"), says=["a.onnx", "not read"])
        self.write("wide.json", dense_model(hidden=17))
        self.refuse(2, "convert", at("w.npz"), at("a.h5"), "--architecture", at("wide.json"),
                    says=["hidden/kernel", "(64, 16)", "(64, 17)"])
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("a.")], [])

    def test_inspects_a_model(self):
        self.write("m.json", dense_model())
        self.convert("m.json", "m.h5")
        self.convert("m.h5", "m.keras")
        for name in ("m.json", "m.h5", "m.keras"):
            told = json.loads(self.run_dnc("inspect", self.path(name), "--json")[0])
            self.assertEqual([layer["name"] for layer in told["layers"]],
                             ["input", "rescaling", "flatten", "hidden", "dropout", "output"])
            hidden = told["layers"][3]
            self.assertEqual((hidden["class_name"], hidden["output_shape"], hidden["parameters"],
                              hidden["flops"]), ("Dense", [None, 16], 65 * 16, 2 * 64 * 16))
            self.assertEqual(told["parameters"], 65 * 16 + 17 * 3)
            self.assertEqual(told["bytes"], 4 * told["parameters"])
            self.assertEqual(told["flops"], 2 * (64 * 16 + 16 * 3))
            self.assertEqual(told["compile"]["loss"], "sparse_categorical_crossentropy")
            text = self.run_dnc("inspect", self.path(name))[0]
            for part in ("(None, 16)", "1,040", "SGD", "accuracy", "sparse_categorical"):
                self.assertIn(part, text)
        self.write("spoilt.json", {"class_name": "Sequential", "config": {"layers": [
            {"class_name": "Lambda", "config": {}}]}})
        self.refuse(6, "inspect", self.path("spoilt.json"), says=["Lambda", "spoilt.json"])


class ConvertBesideKeras(Case):
    def peer(self, task):
        done = subprocess.run([PEER, os.path.join(os.path.dirname(__file__), "keras_peer.py"), task,
                               self.folder], capture_output=True, text=True, timeout=280)
        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-4000:])

    def test_keras_and_onnxruntime_predict_the_same(self):
        if not os.path.exists(PEER):
            self.skipTest(f"no Keras 3 at {PEER}")
        self.peer("make")
        names = sorted(name[:-6] for name in os.listdir(self.folder) if name.endswith(".keras"))
        self.assertGreaterEqual(len(names), 5)
        for name in names:
            at = self.path(name)
            for ending in (".again.keras", ".h5", ".json", ".onnx", ".safetensors", ".npz"):
                self.run_dnc("convert", at + ".keras", at + ending)
        self.peer("check")
        for name in names:  # What safetensors and NumPy wrote themselves.
            at = self.path(name)
            for ending in (".peer.safetensors", ".peer.npz"):
                self.run_dnc("convert", at + ending, at + ".peer.h5", "--architecture", at + ".keras")
                self.same_weights(at + ".h5", at + ".peer.h5")

    def same_weights(self, a, b):
        self.assertTrue(filecmp.cmp(a, b, shallow=False), f"{a} and {b}")
