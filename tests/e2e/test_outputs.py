"""Models of several inputs and outputs, from a dataset with a column for each, and metrics."""

import csv
import json

import numpy

from harness import Case, weights_of


def layer(kind, name, inputs, **config):
    return {"class_name": kind, "name": name, "config": {"name": name, **config},
            "inbound_nodes": [[[i, 0, 0, {}] for i in inputs]] if inputs else []}


def mixed_model(**compile_):
    """From pictures and two numbers to one of three kinds, and to a size."""
    layers = [
        layer("InputLayer", "picture", [], batch_input_shape=[None, 8, 8], dtype="float32"),
        layer("InputLayer", "numbers", [], batch_input_shape=[None, 2], dtype="float32"),
        layer("Rescaling", "scaled", ["picture"], scale=1 / 255, offset=0.0),
        layer("Flatten", "flat", ["scaled"]),
        layer("Dense", "seen", ["flat"], units=16, activation="relu"),
        layer("Concatenate", "both", ["seen", "numbers"], axis=-1),
        layer("Dense", "kind", ["both"], units=3, activation="softmax"),
        layer("Dense", "size", ["both"], units=1, activation="sigmoid"),
    ]
    return {"class_name": "Functional",
            "config": {"name": "mixed", "layers": layers,
                       "input_layers": [["picture", 0, 0], ["numbers", 0, 0]],
                       "output_layers": [["kind", 0, 0], ["size", 0, 0]]},
            "compile": {"optimizer": {"class_name": "SGD", "learning_rate": 0.1, "momentum": 0.9},
                        "loss": {"kind": "sparse_categorical_crossentropy",
                                 "size": "binary_crossentropy"},
                        "loss_weights": {"size": 0.5},
                        "metrics": {"kind": ["accuracy"], "size": ["AUC", "Precision", "mae"]},
                        **compile_}}


class Outputs(Case):
    def divide_mixed(self, count=1500):
        random = numpy.random.default_rng(3)
        kind = random.integers(0, 3, count)
        picture = random.integers(0, 120, (count, 8, 8)).astype(numpy.uint8)
        for i in range(3):
            picture[kind == i, i * 2:i * 2 + 2] += 100
        numbers = random.standard_normal((count, 2)).astype(numpy.float64)
        size = (numbers[:, 0] > numbers[:, 1]).astype(numpy.float32)
        self.columns = {"picture": picture, "numbers": numbers, "kind": kind.astype(numpy.int32),
                        "size": size, "weight": numpy.ones(count), "unused": numpy.arange(count)}
        numpy.savez(self.path("mixed.npz"), **self.columns)
        self.run_dnc("divide", self.path("mixed.npz"), "--columns",
                     "picture,numbers,kind,size,weight", "--to", self.path("shards"), "--split",
                     "train=0.8,validation=0.2")

    def train(self, out, *arguments):
        return json.loads(self.run_dnc("train", self.path("project.json"), "--out", self.path(out),
                                       "--threads", 1, "--json", *arguments)[0])

    def test_trains_evaluates_and_predicts_by_the_names_of_columns(self):
        self.divide_mixed()
        self.project(model=mixed_model(), fit={"epochs": 4})
        out = self.train("model.h5", "--log", self.path("log.csv"), "--plot", self.path("log.svg"))
        last = out["epochs"][-1]["validation"]
        self.assertGreater(last["kind_accuracy"], 0.9)
        self.assertGreater(last["size_auc"], 0.9)
        self.assertGreater(last["size_precision"], 0.8)
        self.assertAlmostEqual(last["loss"], last["kind_loss"] + 0.5 * last["size_loss"], places=5)
        with open(self.path("log.csv")) as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), 4)
        self.assertAlmostEqual(float(rows[-1]["val_size_auc"]), last["size_auc"], places=6)

        scores = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--batch-size", 16, "--json")[0])
        for name in ("kind_loss", "kind_accuracy", "size_loss", "size_auc", "size_mae"):
            self.assertAlmostEqual(scores[name], last[name], places=5)

        told = self.run_dnc("predict", self.path("model.h5"), "--input", self.path("mixed.npz"),
                            "--out", self.path("p.npy"))[0]
        self.assertIn("kind 0-2, size 3", told)
        predicted = numpy.load(self.path("p.npy"))
        self.assertEqual(predicted.shape, (1500, 4))
        right = (predicted[:, :3].argmax(axis=1) == self.columns["kind"]).mean()
        self.assertGreater(right, 0.9)
        self.assertGreater(((predicted[:, 3] > 0.5) == self.columns["size"]).mean(), 0.8)

    def test_the_grid_trains_them_alike_however_many_providers_there_are(self):
        self.divide_mixed()
        self.project(model=mixed_model(), fit={"epochs": 2}, grid={"total_tasks": 4, "task_size": 2})
        found = []
        for providers in (1, 2):
            _, url = self.serve("--lease-silence-seconds", "3")
            self.run_dnc("signup", url, "--name", f"ada{providers}")
            project = self.submit(self.path("project.json"))
            for i in range(providers):
                self.join(url, f"provider-{providers}-{i}")
            self.wait_for_end(project)
            self.run_dnc("result", project, "--out", self.path("model.h5"))
            found.append(weights_of(self.path("model.h5")))
            self.end_processes()
            self.processes.clear()
        self.assertEqual(found[0], found[1])

    def test_metrics_of_one_output(self):
        self.divide_images(900, split="train=0.8,validation=0.2")
        x, y = self.path("x.npy"), self.path("y.npy")
        labels = (numpy.load(y) == 1).astype(numpy.float32)
        numpy.save(y, labels)
        self.run_dnc("divide", x, "--labels", y, "--to", self.path("two"), "--split",
                     "train=0.8,validation=0.2")
        model = mixed_model()
        model["config"]["layers"] = [
            layer("InputLayer", "in", [], batch_input_shape=[None, 8, 8], dtype="float32"),
            layer("Rescaling", "scaled", ["in"], scale=1 / 255, offset=0.0),
            layer("Flatten", "flat", ["scaled"]),
            layer("Dense", "out", ["flat"], units=1, activation="sigmoid")]
        model["config"]["input_layers"] = [["in", 0, 0]]
        model["config"]["output_layers"] = [["out", 0, 0]]
        model["compile"] = {"optimizer": {"class_name": "Adam", "learning_rate": 0.02},
                            "loss": "binary_crossentropy",
                            "metrics": ["accuracy", "AUC", "Precision", "Recall", "MeanIoU"]}
        self.project(data="two/manifest.json", model=model, fit={"epochs": 3})
        whole = self.train("whole.h5")
        last = whole["epochs"][-1]["validation"]
        self.assertGreater(last["auc"], 0.95)
        scored = json.loads(self.run_dnc("evaluate", self.path("whole.h5"), "--data",
                                         self.path("two"), "--split", "validation", "--json")[0])
        by_class = scored["confusion"]["classes"][1]
        self.assertAlmostEqual(scored["precision"], by_class["precision"], places=6)
        self.assertAlmostEqual(scored["recall"], by_class["recall"], places=6)
        text = self.run_dnc("evaluate", self.path("whole.h5"), "--data", self.path("two"),
                            "--split", "validation")[0]
        self.assertRegex(text, r"loss 0\.\d{4}, accuracy [01]\.\d{4}, auc [01]\.\d{4}, precision ")

    def test_columns_that_are_not_there_are_named(self):
        self.divide_mixed(60)
        model = mixed_model(loss=["sparse_categorical_crossentropy", "mse", "mse"])
        self.project(model=model)
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    says=["3 losses", "2 outputs"])
        model = mixed_model()
        text = json.dumps(model).replace('"size"', '"age"')
        self.project(model=json.loads(text))
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    says=["picture, numbers, kind, size, weight", "kind, age"])
        text = json.dumps(model).replace('"numbers"', '"figures"')
        self.project(model=json.loads(text))
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    says=["picture, figures"])
        self.project(model=model)
        self.refuse(2, "train", self.path("project.json"), "--out", self.path("m.h5"),
                    "--class-weight", "0=2", says=["no labels"])
