"""The grid: the same weights whoever trains and whatever is killed; refusals; pause."""

import json
import os
import re
import signal
import socket
import time

import numpy

from harness import DNC, Case, dense_model, images, weights_of


class Grid(Case):
    def train_on_grid(self, providers, during=None):
        """The weights that `providers` processes train; during(self) may disturb them."""
        _, url = self.serve("--lease-silence-seconds", "3")
        self.run_dnc("signup", url, "--name", "ada")
        project = self.submit(self.path("project.json"))
        joined = [self.join(url, f"provider-{i}") for i in range(providers)]
        if during:
            during(project, url, joined)
        self.wait_for_end(project)
        self.run_dnc("result", project, "--out", self.path("model.h5"))
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=10)
        return weights_of(self.path("model.h5"))

    def prepare(self, epochs=3):
        self.divide_images(4000)
        self.project(fit={"epochs": epochs, "batch_size": 4}, grid={"total_tasks": 8,
                                                                    "task_size": 4})

    def fresh_grid(self, *arguments, **options):
        """train_on_grid from an empty state."""
        os.rename(self.path("state"), self.path(f"state-{time.monotonic_ns()}"))
        self.processes.clear()
        return self.train_on_grid(*arguments, **options)

    def steps_done(self, project):
        return self.status(project)["version"]

    def test_one_two_and_three_providers_give_the_same_weights(self):
        self.prepare()
        one = self.train_on_grid(1)
        self.assertEqual(self.fresh_grid(2), one)
        self.assertEqual(self.fresh_grid(3), one)
        status = self.status_of_last
        self.assertGreater(status["evaluations"][-1]["accuracy"], 0.9)

    def wait_for_end(self, project, timeout=120):
        super().wait_for_end(project, timeout)
        self.status_of_last = self.status(project)

    def test_killed_provider_changes_nothing(self):
        self.prepare()
        undisturbed = self.train_on_grid(2)

        def kill_one(project, url, joined):
            self.wait_until(lambda: self.steps_done(project) >= 1, "the first step")
            joined[0].kill()
            joined[0].wait()

        self.assertEqual(self.fresh_grid(2, during=kill_one), undisturbed)

    def test_killed_and_restarted_server_changes_nothing(self):
        self.prepare()
        undisturbed = self.train_on_grid(2)

        def restart(project, url, joined):
            for step in (1, 3):
                self.wait_until(lambda: self.steps_done(project) >= step, f"step {step}")
                server = self.server
                server.kill()
                server.wait()
                time.sleep(0.5)
                self.server, again = self.serve("--lease-silence-seconds", "3", port=self.port)
                self.assertEqual(again, url)

        self.assertEqual(self.fresh_grid(2, during=restart), undisturbed)

    def serve(self, *arguments, **options):
        self.server, url = super().serve(*arguments, **options)
        return self.server, url

    def test_ctrl_c_of_a_provider_gives_its_task_back(self):
        self.prepare()

        def stop_one(project, url, joined):
            self.wait_until(lambda: self.steps_done(project) >= 1, "the first step")
            joined[0].send_signal(signal.SIGINT)
            self.assertEqual(joined[0].wait(timeout=5), 130)

        self.train_on_grid(2, during=stop_one)

    def test_begins_with_the_weights_of_a_model_file(self):
        self.prepare(epochs=1)
        self.run_dnc("train", self.path("project.json"), "--out", self.path("start.h5"))
        self.project(model_path="start.h5")
        _, url = self.serve()
        self.run_dnc("signup", url, "--name", "ada")
        project = self.submit(self.path("project.json"))
        self.run_dnc("result", project, "--out", self.path("first.h5"))
        self.assertEqual(weights_of(self.path("first.h5")), weights_of(self.path("start.h5")))

    def test_pause_resume_cancel_and_result_in_between(self):
        self.prepare(epochs=30)
        _, url = self.serve()
        self.run_dnc("signup", url, "--name", "ada")
        project = self.submit(self.path("project.json"))
        self.join(url, "provider-1")
        self.wait_until(lambda: self.steps_done(project) >= 1, "the first step")
        out, _ = self.run_dnc("result", project, "--out", self.path("early.h5"))
        self.assertTrue(weights_of(self.path("early.h5")))
        self.run_dnc("pause", project)
        self.wait_until(lambda: self.status(project)["tasks_leased"] == 0, "leases to end")
        version = self.steps_done(project)
        time.sleep(1)
        self.assertLessEqual(self.steps_done(project) - version, 1)
        self.assertEqual(self.status(project)["phase"], "paused")
        self.run_dnc("resume", project)
        self.wait_until(lambda: self.steps_done(project) > version + 1, "another step")
        self.run_dnc("cancel", project)
        self.assertEqual(self.status(project)["phase"], "cancelled")
        self.run_dnc("result", project, "--out", self.path("late.h5"))
        out, _ = self.run_dnc("list")
        self.assertIn("cancelled", out)

    STOPPING = {"patience": 2, "min_delta": 0.01, "restore_best": True}

    def save_mds(self, columns, encodings):
        """A folder of MosaicML's, the one source whose further columns are kept as they are."""
        count = len(columns["y"])
        samples = [b"".join(column[i].tobytes() for column in columns.values())
                   for i in range(count)]
        offsets = 4 + 4 * (count + 1) + numpy.cumsum([0] + [len(sample) for sample in samples])
        data = (numpy.uint32(count).tobytes() + offsets.astype(numpy.uint32).tobytes() +
                b"".join(samples))
        os.mkdir(self.path("mds"))
        with open(self.path("mds", "shard.00000.mds"), "wb") as file:
            file.write(data)
        self.write("mds/index.json", {"version": 2, "shards": [{
            "version": 2, "format": "mds", "samples": count, "compression": None, "hashes": [],
            "size_limit": 1 << 26, "zip_data": None,
            "column_names": list(columns), "column_encodings": list(encodings.values()),
            "column_sizes": [column[0].nbytes for column in columns.values()],
            "raw_data": {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}}}]})

    def prepare_weighted(self):
        """Classes and a column of weights that count, and an end long before the last epoch."""
        x, y = images(2000)
        weights = numpy.where(numpy.arange(2000) % 5 == 0, 0, 1).astype(numpy.float32)
        self.save_mds({"w": weights, "x": x, "y": y}, {"w": "float32", "x": "ndarray:uint8:8,8",
                                                       "y": "uint8"})
        self.run_dnc("divide", self.path("mds"), "--to", self.path("shards"),
                     "--split", "train=0.8,validation=0.2")
        self.project(fit={"epochs": 40, "batch_size": 4, "class_weight": {"0": 2, "1": 0.5},
                          "sample_weight": "w", "early_stopping": self.STOPPING},
                     grid={"total_tasks": 4, "task_size": 2})

    def test_stops_early_with_the_same_weights_whoever_trains_and_whatever_is_killed(self):
        self.prepare_weighted()
        one = self.train_on_grid(1)
        status = self.status_of_last
        stopping = status["stopping"]
        self.assertEqual(status["phase"], "finished")
        self.assertTrue(stopping["stopped_early"])
        self.assertLess(stopping["epochs"], 40)
        self.assertEqual(stopping["epochs"], stopping["best_epoch"] + 2)
        self.assertEqual(status["version"], 2 * stopping["epochs"])
        self.assertEqual(stopping["model_version"], 2 * stopping["best_epoch"])
        self.assertEqual(status["fit"]["early_stopping"]["monitor"], "val_loss")
        losses = [evaluation["loss"] for evaluation in status["evaluations"]]
        self.assertEqual(len(losses), stopping["epochs"])
        best = stopping["best_epoch"]
        self.assertTrue(all(losses[best - 1] - loss <= 0.01 for loss in losses[best:]))
        # What is handed out is the best epoch's, by its figures.
        scores = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--json")[0])
        self.assertAlmostEqual(scores["loss"], losses[best - 1], places=5)

        self.assertEqual(self.fresh_grid(2), one)
        self.assertEqual(self.status_of_last["stopping"], stopping)

        def restart(project, url, joined):
            # In the middle of a step, and where a verdict may be awaited.
            for version in (1, 2, 2 * best, 2 * best + 2):
                self.wait_until(lambda: self.steps_done(project) >= version, f"step {version}")
                self.server.kill()
                self.server.wait()
                self.server, again = self.serve("--lease-silence-seconds", "3", port=self.port)
                self.assertEqual(again, url)

        self.assertEqual(self.fresh_grid(2, during=restart), one)
        self.assertEqual(self.status_of_last["stopping"], stopping)

    def test_status_says_that_it_stopped_early(self):
        self.prepare_weighted()
        _, url = self.serve()
        self.run_dnc("signup", url, "--name", "ada")
        project = self.submit(self.path("project.json"))
        self.join(url, "provider-1")
        out, _ = self.run_dnc("status", project, "--follow")
        stopping = self.status(project)["stopping"]
        said = f"stopped early after epoch {stopping['epochs']}; epoch {stopping['best_epoch']} is the best"
        self.assertIn(said, out)
        out, _ = self.run_dnc("result", project, "--out", self.path("model.h5"))
        self.assertIn(said, out)
        self.assertIn(f"step {stopping['model_version']} of 80", out)

    def test_a_class_that_does_not_count_is_not_learned(self):
        self.prepare(epochs=2)
        self.project(fit={"epochs": 2, "batch_size": 4, "class_weight": {"2": 0}},
                     grid={"total_tasks": 8, "task_size": 4})
        self.train_on_grid(2)
        scores = json.loads(self.run_dnc("evaluate", self.path("model.h5"), "--data",
                                         self.path("shards"), "--split", "validation",
                                         "--json")[0])
        classes = scores["confusion"]["classes"]
        self.assertLess(classes[2]["recall"], 0.2)
        self.assertGreater(classes[0]["recall"], 0.8)

    def test_no_process_is_left(self):
        self.prepare(epochs=1)
        self.train_on_grid(2)
        left = [pid for pid in os.listdir("/proc") if pid.isdigit() and self.belongs(pid)]
        self.assertEqual(left, [])

    def belongs(self, pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self.folder.encode() in file.read() and int(pid) != os.getpid()
        except OSError:
            return False


class Refused(Case):
    def server(self, *arguments):
        _, url = self.serve(*arguments)
        self.run_dnc("signup", url, "--name", "ada")
        return url

    def test_wrong_password(self):
        url = self.server()
        self.refuse(8, "login", url, "--name", "ada", says=["name or password"],
                    env={"DNC_PASSWORD": "not this one"})

    def test_account_that_exists(self):
        url = self.server()
        self.refuse(4, "signup", url, "--name", "ada", says=["ada"])

    def test_expired_token(self):
        url = self.server("--token-days", str(1.5 / 86400))
        time.sleep(2)
        self.refuse(8, "list", says=["expired", "login"])
        self.run_dnc("login", url, "--name", "ada")
        self.run_dnc("list")

    def test_logged_out(self):
        self.server()
        self.run_dnc("logout")
        self.refuse(8, "list", says=["dnc login"])

    def test_shard_larger_than_the_limit(self):
        self.server("--object-bytes-max", "1KiB")
        self.divide_images(2000)
        self.project()
        self.refuse(7, "submit", self.path("project.json"), says=["1,024"])

    def test_server_that_is_not_there(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        _, err = self.run_dnc("login", url, "--name", "ada", "--give-up-after", 1.5, expect=11)
        self.assertIn("next try in", err)
        self.assertIn(url.split("//")[1], err.splitlines()[-1])

    def test_two_servers_on_one_state_folder(self):
        self.server()
        self.refuse(4, "serve", "--listen", "127.0.0.1:0", "--state", self.path("state"),
                    says=["state"])

    def test_port_in_use(self):
        self.server()
        self.refuse(4, "serve", "--listen", f"127.0.0.1:{self.port}", "--state",
                    self.path("other"), says=[str(self.port)])

    def test_project_that_is_not_ours(self):
        url = self.server()
        self.divide_images(300)
        project = self.submit(self.project())
        self.run_dnc("signup", url, "--name", "eve")
        self.refuse(3, "status", project, says=[str(project)])
        self.refuse(3, "cancel", project, says=[str(project)])

    def test_task_size_above_total_tasks(self):
        self.server()
        self.divide_images(300)
        self.project(grid={"total_tasks": 2, "task_size": 3})
        self.refuse(2, "submit", self.path("project.json"), says=["task_size", "3", "2"])
        self.assertEqual(json.loads(self.run_dnc("list", "--json")[0])["projects"], [])

    def test_weights_and_early_stopping_that_do_not_fit_the_data(self):
        self.server()
        manifest = self.divide_images(300)
        stop = {"patience": 1}
        cases = [
            ({"class_weight": {"3": 2}}, ["fit.class_weight", '"3" is no class', "0, 1, 2"]),
            ({"class_weight": {"shirt": 2}}, ["fit.class_weight", '"shirt" is no class']),
            ({"class_weight": {"1": -2}}, ["fit.class_weight", "-2"]),
            ({"class_weight": "even"}, ["fit.class_weight", '"even"', '"balanced"']),
            ({"class_weights": {"1": 2}}, ["fit.class_weights", 'did you mean "class_weight"']),
            ({"sample_weight": "w"}, ["fit.sample_weight", '"w"', "x, y"]),
            ({"sample_weight": "x"}, ["fit.sample_weight", "one number a sample"]),
            ({"early_stopping": {}}, ["fit.early_stopping.patience", "missing"]),
            ({"early_stopping": {**stop, "monitor": "val_los"}},
             ["fit.early_stopping.monitor", "val_los", "val_loss"]),
            ({"early_stopping": {**stop, "min_delta": -1}}, ["fit.early_stopping.min_delta", "-1"]),
            ({"early_stopping": {**stop, "pateince": 1}}, ['did you mean "patience"']),
            ({"early_stopping": {**stop, "monitor": "val_loss"}, "validation_split": ""},
             ["fit.early_stopping.monitor", "no validation split"]),
        ]
        for fit, says in cases:
            with self.subTest(fit=fit):
                self.refuse(2, "submit", self.project(data=manifest, fit=fit), says=says)
        model = dense_model()
        model["compile"]["metrics"] = []
        self.refuse(2, "submit", self.project(data=manifest, model=model, fit={
            "early_stopping": {**stop, "monitor": "val_accuracy"}}),
            says=["fit.early_stopping.monitor", "no accuracy"])
        self.assertEqual(json.loads(self.run_dnc("list", "--json")[0])["projects"], [])

    def test_provider_without_a_login(self):
        url = self.server()
        self.run_dnc("logout")
        self.refuse(8, "join", url, says=["login"])


class Cli(Case):
    def test_every_command_has_help_with_examples(self):
        out, _ = self.run_dnc("--help")
        commands = re.findall(r"^  ([a-z]+) ", out[out.index("Subcommands"):], re.MULTILINE)
        self.assertLessEqual({
            "divide", "inspect", "verify", "stream", "cid", "train", "evaluate", "predict", "doctor", "serve",
            "signup", "login", "logout", "submit", "list", "status", "pause", "resume", "cancel",
            "result", "join"}, set(commands))
        for command in commands:
            out, _ = self.run_dnc(command, "--help")
            self.assertIn(f"dnc {command}", out)
            self.assertIn("Examples:", out)

    def test_version_needs_no_libtorch(self):
        out, _ = self.run_dnc("--version")
        self.assertRegex(out, r"^dnc \d+\.\d+\.\d+$")
        with os.popen(f"ldd {DNC}") as libraries:
            self.assertNotIn("torch", libraries.read())

    def test_wrong_command_line(self):
        self.run_dnc("divide", expect=2)
        self.run_dnc("fly", expect=2)

    def test_doctor_reports_this_machine(self):
        out, _ = self.run_dnc("doctor", "--json")
        report = json.loads(out)
        self.assertGreater(report["processor"]["cores"], 0)
        self.assertGreater(report["matrix_gflops"], 0)
        self.assertGreater(report["disk_write_mb_per_s"], 0)
