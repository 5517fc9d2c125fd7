"""dnc train, evaluate and predict: the same bytes whatever happens, and bad projects."""

import csv
import json
import os
import signal
import time
import xml.etree.ElementTree

import h5py
import numpy

from harness import Case, dense_model, weights_of


def modified(path):
    return os.stat(path).st_mtime_ns if os.path.exists(path) else 0


def contents(*paths):
    whole = []
    for path in paths:
        with open(path, "rb") as file:
            whole.append(file.read())
    return whole


def floats(weights):
    return numpy.concatenate([numpy.frombuffer(part, numpy.float32)
                              for _, part in sorted(weights.items())])


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
                    "--split", "validation", says=["compile section"])

    def test_killed_twenty_times_ends_in_the_same_bytes(self):
        """At random moments, of the start, of a step, of a checkpoint or of an epoch's end."""
        self.divide_images(3000)
        self.project(fit={"epochs": 120, "batch_size": 4}, model=dense_model(optimizer="Adam"))
        self.train("--best", self.path("best.h5"))
        undisturbed = contents(self.path("model.h5"), self.path("best.h5"))
        os.remove(self.path("model.h5"))
        os.remove(self.path("best.h5"))

        random = numpy.random.default_rng(5)
        checkpoint = self.path("model.h5.checkpoint")
        kills = 0
        while kills < 20:
            process = self.start_dnc("train", "train", self.path("project.json"), "--out",
                                     self.path("model.h5"), "--best", self.path("best.h5"),
                                     "--threads", 1, "--resume", "--checkpoint-steps", 32,
                                     "--checkpoint-seconds", 0.05)
            before = modified(checkpoint)
            # A run in four is killed before it wrote a checkpoint: else none would end.
            if kills % 4 != 3:
                self.wait_until(lambda: modified(checkpoint) != before or
                                process.poll() is not None, "a checkpoint")
            time.sleep(random.uniform(0, 0.06))
            if process.poll() is not None:
                break  # It was quicker; how often it was killed is checked below.
            process.kill()
            process.wait()
            kills += 1
        self.assertEqual(kills, 20)
        self.train("--resume", "--best", self.path("best.h5"))
        self.assertEqual(contents(self.path("model.h5"), self.path("best.h5")), undisturbed)
        self.assertFalse(os.path.exists(checkpoint))

    def test_stops_early_and_logs(self):
        self.divide_images(600)
        self.project(fit={"epochs": 40})
        out = json.loads(self.train("--json", "--patience", 2, "--min-delta", 0.02, "--restore-best",
                                    "--log", self.path("log.csv"), "--plot", self.path("c.svg"),
                                    "--tensorboard", self.path("tb"))[0])
        self.assertTrue(out["stopped_early"])
        self.assertEqual(out["monitor"], "val_loss")
        self.assertEqual(len(out["epochs"]), out["best_epoch"] + 2)
        with open(self.path("log.csv")) as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([int(row["epoch"]) for row in rows],
                         list(range(1, len(out["epochs"]) + 1)))
        self.assertAlmostEqual(float(rows[-1]["val_loss"]),
                               out["epochs"][-1]["validation"]["loss"])
        with open(self.path("c.svg")) as file:
            self.assertEqual(xml.etree.ElementTree.parse(file).getroot().tag,
                             "{http://www.w3.org/2000/svg}svg")
        self.assertEqual(sorted(os.listdir(self.path("tb"))), ["train", "validation"])
        # The model is that of the best epoch.
        scores = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--json")[0])
        best = out["epochs"][out["best_epoch"] - 1]["validation"]
        self.assertAlmostEqual(scores["loss"], best["loss"], places=6)
        matrix = scores["confusion"]["matrix"]
        self.assertEqual(sum(map(sum, matrix)), scores["samples"])
        self.assertAlmostEqual(sum(matrix[i][i] for i in range(3)) / scores["samples"],
                               scores["accuracy"])
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    "--monitor", "val_los", says=["val_los", "val_loss"])
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.json"),
                    says=["m.json", ".h5"])

    def test_classes_count_as_much_as_they_are_said_to(self):
        self.divide_images(600)
        self.project(fit={"epochs": 3})
        plain = json.loads(self.train("--json")[0])
        self.train("--class-weight", "0=1,1=1,2=1")
        same = weights_of(self.path("model.h5"))
        self.train()
        numpy.testing.assert_allclose(floats(same), floats(weights_of(self.path("model.h5"))),
                                      atol=1e-5)
        self.train("--class-weight", "balanced")
        # A class that does not count is not learned.
        self.train("--class-weight", "2=0")
        scores = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--json")[0])
        classes = scores["confusion"]["classes"]
        self.assertLess(classes[2]["recall"], 0.2)
        self.assertGreater(classes[0]["recall"], 0.8)
        self.assertGreater(plain["epochs"][-1]["validation"]["accuracy"], 0.8)
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    "--class-weight", "2", says=["--class-weight", "balanced"])
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    "--sample-weight", "w", says=['"w"', "x, y"])

    def test_the_project_file_says_how_samples_count_and_when_to_stop(self):
        self.divide_images(600)
        self.project(fit={"epochs": 40})
        asked = self.train("--json", "--class-weight", "0=2,2=0.5", "--patience", 2,
                           "--min-delta", 0.02, "--restore-best")[0]
        weights = weights_of(self.path("model.h5"))
        stopping = {"patience": 2, "min_delta": 0.02, "restore_best": True}
        self.project(fit={"epochs": 40, "class_weight": {"0": 2, "2": 0.5},
                          "early_stopping": stopping})
        written = json.loads(self.train("--json")[0])
        self.assertTrue(written["stopped_early"])
        self.assertEqual(written["best_epoch"], json.loads(asked)["best_epoch"])
        self.assertEqual(weights_of(self.path("model.h5")), weights)
        # The command line goes before the file.
        out = json.loads(self.train("--json", "--patience", 1, "--monitor", "loss")[0])
        self.assertEqual(out["monitor"], "loss")
        self.assertEqual(len(out["epochs"]), out["best_epoch"] + 1)
        self.train("--class-weight", "0=1")
        self.assertNotEqual(weights_of(self.path("model.h5")), weights)
        self.project(fit={"class_weight": {"7": 1}})
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    says=["project.json", "fit.class_weight", '"7" is no class'])

    def test_goes_on_from_a_model_file(self):
        self.divide_images(600)
        self.project(fit={"epochs": 4}, model=dense_model(optimizer="Adam"))
        self.train()
        whole = json.loads(self.train("--json")[0])
        self.project(fit={"epochs": 2, "seed": 9}, model_path="model.h5")
        out = json.loads(self.run_dnc("train", self.path("project.json"), "--out",
                                      self.path("more.keras"), "--threads", 1, "--json")[0])
        # It began where the first ended, not anew.
        self.assertLess(out["epochs"][0]["train"]["loss"], whole["epochs"][1]["train"]["loss"])
        scores = json.loads(self.run_dnc("evaluate", self.path("more.keras"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--json")[0])
        self.assertAlmostEqual(scores["loss"], out["epochs"][-1]["validation"]["loss"], places=6)

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

    def test_computes_where_it_is_told(self):
        self.divide_images(300)
        self.project()
        self.train("--device", "cpu")
        trained = weights_of(self.path("model.h5"))
        libraries = json.loads(self.run_dnc("doctor", "--json")[0])["libraries"]
        if libraries["device"] == "cpu":
            self.train("--device", "auto", "--restart")
            self.assertEqual(weights_of(self.path("model.h5")), trained)
            os.remove(self.path("model.h5"))
            self.refuse(6, "train", self.path("project.json"), "--out", self.path("model.h5"),
                        "--device", "cuda", says=["--device cuda"])
        else:
            self.train("--device", "cuda", "--restart")
            numpy.testing.assert_allclose(floats(weights_of(self.path("model.h5"))),
                                          floats(trained), atol=1e-4)

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
