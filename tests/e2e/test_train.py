"""dnc train, evaluate and predict: the same bytes whatever happens, and bad projects."""

import json
import os
import signal

import h5py
import numpy

from harness import Case, dense_model, weights_of


class Train(Case):
    def train(self, *arguments, **options):
        return self.run_dnc("train", self.path("project.json"), "--out", self.path("model.h5"),
                            "--threads", 1, *arguments, **options)

    def test_learns_and_writes_a_keras_file(self):
        self.divide_images(1200)
        self.project(fit={"epochs": 4})
        out = json.loads(self.train("--json")[0])
        self.assertEqual(len(out["epochs"]), 4)
        self.assertGreater(out["epochs"][-1]["validation"]["accuracy"], 0.9)
        with h5py.File(self.path("model.h5"), "r") as file:
            self.assertEqual(set(file.attrs),
                             {"keras_version", "backend", "model_config", "training_config"})
            config = json.loads(file.attrs["model_config"])
            self.assertEqual(config["class_name"], "Sequential")
            training = json.loads(file.attrs["training_config"])
            self.assertEqual(training["loss"], "sparse_categorical_crossentropy")
            self.assertEqual(training["optimizer_config"]["class_name"], "SGD")
            weights = file["model_weights"]
            names = [n.decode() for n in weights.attrs["layer_names"]]
            self.assertEqual([n for n in names if len(weights[n].attrs["weight_names"])],
                             ["hidden", "output"])
            self.assertEqual([n.decode() for n in weights["hidden"].attrs["weight_names"]],
                             ["hidden/kernel:0", "hidden/bias:0"])
            kernel = weights["hidden"]["hidden/kernel:0"]
            self.assertEqual((kernel.shape, kernel.dtype), ((64, 16), numpy.float32))

        out = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                      self.path("shards"), "--split", "validation", "--json")[0])
        self.assertGreater(out["accuracy"], 0.9)
        self.assertEqual(out["samples"], 240)

        self.run_dnc("predict", self.path("model.h5"), "--input", self.path("x.npy"), "--out",
                     self.path("p.npy"))
        predicted = numpy.load(self.path("p.npy"))
        self.assertEqual(predicted.shape, (1200, 3))
        numpy.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-5)
        accuracy = (predicted.argmax(axis=1) == numpy.load(self.path("y.npy"))).mean()
        self.assertGreater(accuracy, 0.9)

    def test_predicts_with_a_model_that_was_never_compiled(self):
        self.divide_images(60)
        self.project(fit={"epochs": 1})
        self.train()
        self.run_dnc("predict", self.path("model.h5"), "--input", self.path("x.npy"), "--out",
                     self.path("compiled.npy"))
        with h5py.File(self.path("model.h5"), "r+") as file:
            del file.attrs["training_config"]
        self.run_dnc("predict", self.path("model.h5"), "--input", self.path("x.npy"), "--out",
                     self.path("plain.npy"))
        numpy.testing.assert_array_equal(numpy.load(self.path("plain.npy")),
                                         numpy.load(self.path("compiled.npy")))
        self.refuse(2, "evaluate", self.path("model.h5"), "--data", self.path("shards"),
                    "--split", "validation", says=["training_config"])

    def test_killed_and_resumed_ends_in_the_same_bytes(self):
        self.divide_images(3000)
        self.project(fit={"epochs": 6, "batch_size": 4})
        self.train()
        undisturbed = weights_of(self.path("model.h5"))
        os.remove(self.path("model.h5"))

        kills = 0
        for delay in (1, 3, 6, 10):
            process = self.start_dnc("train", "train", self.path("project.json"), "--out",
                                     self.path("model.h5"), "--threads", 1, "--resume",
                                     "--checkpoint-seconds", 0)
            checkpoint = self.path("model.h5.checkpoint")
            seen = set()

            def checkpoints():
                if os.path.exists(checkpoint):
                    seen.add(os.stat(checkpoint).st_mtime_ns)
                return len(seen) >= delay or process.poll() is not None

            self.wait_until(checkpoints, "a checkpoint")
            if process.poll() is None:
                process.kill()
                kills += 1
            process.wait()
        self.assertGreater(kills, 0)
        self.train("--resume")
        self.assertEqual(weights_of(self.path("model.h5")), undisturbed)
        self.assertFalse(os.path.exists(self.path("model.h5.checkpoint")))

    def test_ctrl_c_keeps_a_checkpoint_and_resumes(self):
        self.divide_images(3000)
        self.project(fit={"epochs": 3, "batch_size": 4})
        self.train()
        undisturbed = weights_of(self.path("model.h5"))
        os.remove(self.path("model.h5"))
        process = self.start_dnc("train", "train", self.path("project.json"), "--out",
                                 self.path("model.h5"), "--threads", 1,
                                 "--checkpoint-seconds", 0)
        self.wait_until(lambda: os.path.exists(self.path("model.h5.checkpoint")), "a checkpoint")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=10), 130)
        self.assertFalse(os.path.exists(self.path("model.h5")))
        self.refuse(4, "train", self.path("project.json"), "--out", self.path("model.h5"),
                    "--threads", 1, says=["--resume", "--restart"])
        self.train("--resume")
        self.assertEqual(weights_of(self.path("model.h5")), undisturbed)

    def test_checkpoint_of_another_run_is_refused(self):
        self.divide_images(3000)
        self.project(fit={"epochs": 20, "batch_size": 4})
        process = self.start_dnc("train", "train", self.path("project.json"), "--out",
                                 self.path("model.h5"), "--threads", 1,
                                 "--checkpoint-seconds", 0)
        self.wait_until(lambda: os.path.exists(self.path("model.h5.checkpoint")), "a checkpoint")
        process.kill()
        process.wait()
        self.project(fit={"epochs": 20, "batch_size": 4, "seed": 4})
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("model.h5"),
                    "--threads", 1, "--resume", says=["another run"])

    def test_memory_below_the_minimum_shows_the_arithmetic(self):
        self.divide_images(300)
        self.project()
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("model.h5"),
                    "--memory", "1KiB", says=["1 KiB"])
        self.assertFalse(os.path.exists(self.path("model.h5")))


class BadProject(Case):
    def setUp(self):
        super().setUp()
        self.divide_images(60)

    def refuse_project(self, code, *says):
        self.refuse(code, "train", self.path("project.json"), "--out", self.path("model.h5"),
                    says=says)
        self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("model.h5")], [])

    def test_layers_that_do_not_fit(self):
        model = dense_model()
        model["config"]["layers"].insert(1, {
            "class_name": "Conv2D",
            "config": {"name": "conv", "filters": 4, "kernel_size": [3, 3]}})
        self.project(model=model)
        self.refuse_project(2, "conv", "(8, 8)")

    def test_kernel_larger_than_its_input(self):
        model = dense_model(inputs=(8, 8, 1))
        model["config"]["layers"].insert(1, {
            "class_name": "Conv2D",
            "config": {"name": "conv", "filters": 4, "kernel_size": [9, 9]}})
        self.project(model=model)
        self.refuse_project(2, "conv", "9", "(8, 8, 1)")

    def test_output_that_does_not_fit_the_labels(self):
        self.project(model=dense_model(classes=2))
        self.refuse_project(2, "2", "3")

    def test_input_that_does_not_fit_the_data(self):
        self.project(model=dense_model(inputs=(9, 9)))
        self.refuse_project(2, "(8, 8)", "(9, 9)")

    def test_unknown_layer(self):
        model = dense_model()
        model["config"]["layers"][3]["class_name"] = "Dens"
        self.project(model=model)
        self.refuse_project(6, "Dens", "Dense", "Conv2D")

    def test_lambda_layer(self):
        model = dense_model()
        model["config"]["layers"][2] = {"class_name": "Lambda",
                                        "config": {"name": "l", "function": "os.system"}}
        self.project(model=model)
        self.refuse_project(6, "Lambda")

    def test_task_size_above_total_tasks(self):
        self.project(grid={"total_tasks": 4, "task_size": 5})
        self.refuse_project(2, "task_size", "5", "4")

    def test_unknown_key_names_the_nearest(self):
        self.project(fit={"epoch": 3})
        self.refuse_project(2, "epoch", "epochs")

    def test_project_that_is_not_json(self):
        self.write("project.json", "{name: small}")
        self.refuse_project(2, "project.json")

    def test_missing_model(self):
        self.project()
        os.remove(self.path("model.json"))
        self.refuse_project(3, "model.json")

    def test_missing_manifest(self):
        self.project(data="elsewhere/manifest.json")
        self.refuse_project(3, "manifest.json")

    def test_split_that_is_not_there(self):
        self.project(fit={"validation_split": "holdout"})
        self.refuse_project(2, "holdout", "validation")

    def test_model_file_that_is_not_hdf5(self):
        self.write("m.h5", "no hdf5")
        self.refuse(5, "evaluate", self.path("m.h5"), "--data", self.path("shards"),
                    says=["m.h5"])

    def test_shard_with_a_byte_changed_stops_training(self):
        self.project()
        for cid in os.listdir(self.path("shards")):
            if cid == "manifest.json":
                continue
            with open(self.path("shards", cid), "r+b") as file:
                file.seek(100)
                file.write(b"\xff\x00\xff")
        self.refuse_project(5, "bafk")
