"""The stream from Python: every sample once, in memory that is shown and not copied, and
from any point on again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

import dividenconquer as dnc
from helpers import FolderTest, GatedServer, numbered


class StreamFolder(FolderTest):
    """2,000 samples to train and 500 to test; y is the number of the sample."""

    SAMPLES = 2500

    def setUp(self):
        super().setUp()
        self.x, _ = numbered(self.SAMPLES)
        self.y = np.arange(self.SAMPLES, dtype=np.int32)
        self.shards = self.path("shards")
        dnc.upload((self.x, self.y), self.shards, batches=5, split="train=0.8,test=0.2",
                   progress=False)

    def order(self, **options):
        with dnc.stream(self.shards, **{"batch_size": 64, **options}) as batches:
            return [int(i) for _, y in batches for i in y]


class StreamTest(StreamFolder):
    def test_gives_every_sample_of_a_split_once(self):
        seen = self.order() + self.order(split="test", shuffle=False)
        self.assertEqual(sorted(seen), list(range(self.SAMPLES)))
        for x, y in dnc.stream(self.shards):
            np.testing.assert_array_equal(x, self.x[y])

    def test_keeps_the_order_of_the_shards_unless_it_shuffles(self):
        order = self.order(shuffle=False)
        self.assertEqual(order, sorted(order))
        shuffled = self.order()
        self.assertNotEqual(shuffled, order)
        self.assertEqual(shuffled, self.order())
        self.assertNotEqual(shuffled, self.order(seed=1))

    def test_an_epoch_has_an_order_of_its_own_and_loops_go_on_with_it(self):
        three = self.order(epochs=3)
        epochs = [three[i:i + 2000] for i in range(0, 6000, 2000)]
        self.assertEqual(epochs[0], self.order())
        self.assertEqual([sorted(epoch) for epoch in epochs], [sorted(epochs[0])] * 3)
        self.assertNotEqual(epochs[1], epochs[0])
        batches = dnc.stream(self.shards, batch_size=64)
        loops = [[int(i) for _, y in batches for i in y] for _ in range(3)]
        self.assertEqual(loops, epochs)
        self.assertEqual(self.order(first_epoch=2), epochs[2])

    def test_batches_do_not_cross_epochs_and_the_last_may_be_left_out(self):
        sizes = [len(y) for _, y in dnc.stream(self.shards, batch_size=600, epochs=2)]
        self.assertEqual(sizes, [600, 600, 600, 200] * 2)
        full = dnc.stream(self.shards, batch_size=600, epochs=2, drop_last=True)
        self.assertEqual([len(y) for _, y in full], [600] * 6)
        self.assertEqual(len(full), 6)
        batches = dnc.stream(self.shards, batch_size=600, epochs=2)
        self.assertEqual((len(batches), batches.batches_per_epoch), (8, 4))
        self.assertEqual(batches.samples_per_epoch, 2000)

    def test_a_stream_without_end_has_no_length(self):
        batches = dnc.stream(self.shards, batch_size=2000, epochs=None)
        for _ in range(5):
            next(batches)
        self.assertEqual(batches.epoch, 5)
        with self.assertRaises(TypeError):
            len(batches)

    def test_workers_share_an_epoch(self):
        for world_size in (2, 4):
            parts = [self.order(rank=rank, world_size=world_size) for rank in range(world_size)]
            self.assertEqual(sorted(sum(parts, [])), sorted(self.order()))

    def test_gives_the_columns_that_are_asked_for(self):
        batch = next(dnc.stream(self.shards, columns=["y"], batch_size=8))
        self.assertEqual(batch._fields, ("y",))
        batch = next(dnc.stream(self.shards, columns=["y", "x"], batch_size=8))
        self.assertEqual((batch.y.shape, batch.x.shape), ((8,), (8, 3)))
        with self.assertRaisesRegex(dnc.NotFoundError, 'no column "z"; it has x, y'):
            dnc.stream(self.shards, columns=["z"])

    def test_says_what_it_did_and_how_it_uses_its_budget(self):
        batches = dnc.stream(self.shards, memory="16MiB")
        for _ in batches:
            pass
        statistics = batches.statistics
        self.assertEqual(statistics.samples, 2000)
        self.assertGreater(statistics.decoded_bytes, 0)
        self.assertLessEqual(statistics.memory_peak_bytes, 16 << 20)
        self.assertGreater(statistics.samples_per_second, 0)
        self.assertEqual(batches.plan["epoch_samples"], 2000)
        self.assertEqual(batches.manifest.samples, self.SAMPLES)

    def test_refuses_what_cannot_be(self):
        for error, message, options in [
            (dnc.InvalidArgumentError, "batch_size=0", {"batch_size": 0}),
            (dnc.InvalidArgumentError, "epochs=0", {"epochs": 0}),
            (dnc.InvalidArgumentError, "needs", {"memory": 1000}),
            (dnc.InvalidArgumentError, "banana", {"memory": "1 banana"}),
            (dnc.InvalidArgumentError, 'did you mean "memory"', {"memry": 1000}),
            (dnc.NotFoundError, "validation", {"split": "validation"}),
        ]:
            with self.assertRaisesRegex(error, message):
                dnc.stream(self.shards, **options)
        with self.assertRaises(FileNotFoundError):
            dnc.stream(self.path("nope"))

    def test_a_closed_stream_says_so(self):
        with dnc.stream(self.shards) as batches:
            x, _ = next(batches)
        before = x.copy()
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "closed"):
            next(batches)
        np.testing.assert_array_equal(x, before)  # The batch stays.

    def test_damage_is_an_error_and_never_a_sample(self):
        manifest = dnc.inspect(self.shards)
        path = os.path.join(self.shards, manifest.shards[2].cid)
        with open(path, "r+b") as file:
            file.seek(50)
            file.write(b"damage")
        with self.assertRaisesRegex(dnc.CorruptError, manifest.shards[2].cid):
            for x, y in dnc.stream(self.shards):
                np.testing.assert_array_equal(x, self.x[y])


class MemoryTest(StreamFolder):
    def test_an_array_is_the_memory_that_was_gathered_into(self):
        x, y = next(dnc.stream(self.shards, batch_size=100))
        self.assertFalse(x.flags.owndata)
        self.assertTrue(x.flags.c_contiguous and x.flags.writeable and x.flags.aligned)
        self.assertEqual(x.__array_interface__["data"][0] % 64, 0)
        self.assertEqual(type(x.base).__name__, "Buffer")
        self.assertTrue(np.shares_memory(np.from_dlpack(x), x))

    def test_what_is_held_is_never_written_again(self):
        held = list(dnc.stream(self.shards, batch_size=64))
        views = [x[::2] for x, _ in held]
        for batch, view in zip(held, views):
            np.testing.assert_array_equal(batch.x, self.x[batch.y])
            np.testing.assert_array_equal(view, self.x[batch.y][::2])

    def test_a_view_alone_holds_its_memory(self):
        batches = dnc.stream(self.shards, batch_size=64)
        views = []
        for x, y in batches:
            views.append((x[3:5].reshape(-1), self.x[y[3:5]].reshape(-1)))
        for view, expected in views:
            np.testing.assert_array_equal(view, expected)

    def test_what_is_let_go_of_is_used_again(self):
        batches = dnc.stream(self.shards, batch_size=64)
        addresses = set()
        for x, _ in batches:
            addresses.add(x.__array_interface__["data"][0])
            del x
        self.assertLessEqual(len(addresses), 2)


class ResumeTest(StreamFolder):
    def test_goes_on_at_the_very_next_sample_from_any_batch(self):
        options = {"batch_size": 300, "epochs": 2, "seed": 5}
        whole = self.order(**options)
        batches = dnc.stream(self.shards, **options)
        done = 0
        while True:
            state = json.loads(json.dumps(batches.state_dict()))
            rest = self.order(state=state, batch_size=170, epochs=2)
            self.assertEqual(rest, whole[done:])
            try:
                done += len(next(batches).y)
            except StopIteration:
                break
        self.assertEqual(done, 4000)

    def test_goes_back_in_place(self):
        batches = dnc.stream(self.shards, batch_size=64)
        next(batches)
        state = batches.state_dict()
        once = [int(i) for _, y in batches for i in y]
        batches.load_state_dict(state)
        self.assertEqual([int(i) for _, y in batches for i in y], once)

    def test_refuses_the_state_of_other_data(self):
        dnc.upload(numbered(100), self.path("other"), progress=False)
        state = dnc.stream(self.path("other")).state_dict()
        with self.assertRaises(dnc.StaleError):
            dnc.stream(self.shards, state=state)
        with self.assertRaises(dnc.InvalidArgumentError):
            dnc.stream(self.shards, state={"position": {}})

    WORKER = """
import json, os, sys
import dividenconquer as dnc
shards, state_file, log = sys.argv[1:]
state = json.load(open(state_file)) if os.path.exists(state_file) else None
for x, y in (batches := dnc.stream(shards, batch_size=50, epochs=2, state=state)):
    with open(log, "a") as file:  # The work on the batch, and then where it stands.
        file.write(json.dumps({"y": y.tolist()}) + chr(10))
    with open(state_file + ".new", "w") as file:
        json.dump(batches.state_dict(), file)
    os.replace(state_file + ".new", state_file)
    print("batch", flush=True)
"""

    def test_a_killed_process_goes_on_from_its_state_file(self):
        whole = self.order(batch_size=50, epochs=2)
        state, log = self.path("state.json"), self.path("log")
        command = [sys.executable, "-c", self.WORKER, self.shards, state, log]
        for batches in (1, 7, 23, 0):
            worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            for _ in range(batches):
                worker.stdout.readline()
            if batches:
                worker.send_signal(signal.SIGKILL)
            else:
                worker.stdout.read()
            self.assertEqual(worker.wait(), -9 if batches else 0)
            worker.stdout.close()
        # A batch between its work and its state is done again; none is left out.
        seen = []
        with open(log) as file:
            for line in file:
                y = json.loads(line)["y"]
                if seen[-len(y):] != y:
                    seen += y
        self.assertEqual(seen, whole)


class VariableTest(FolderTest):
    def test_columns_of_varying_length_are_lists(self):
        texts = [f"number {i} " + "ä" * (i % 5) for i in range(500)]
        files = [bytes([i % 256]) * (i % 37) for i in range(500)]
        dnc.upload({"text": texts, "file": files, "n": np.arange(500)}, self.path("shards"),
                   progress=False)
        manifest = dnc.inspect(self.path("shards"))
        self.assertEqual([c.type_text for c in manifest.columns], ["text", "bytes", "int64 ()"])
        seen = 0
        for batch in dnc.stream(self.path("shards"), batch_size=33):
            for text, file, n in zip(batch.text, batch.file, batch.n):
                self.assertEqual((text, file), (texts[n], files[n]))
                seen += 1
        self.assertEqual(seen, 500)

    def test_a_name_that_is_no_field_makes_batches_dicts(self):
        dnc.upload({"input.jpg": [b"a", b"bc"], "class": [1, 2]}, self.path("shards"),
                   progress=False)
        batch = next(dnc.stream(self.path("shards"), shuffle=False))
        self.assertEqual(batch["input.jpg"], [b"a", b"bc"])
        self.assertEqual(batch["class"].tolist(), [1, 2])


class WaitingTest(FolderTest):
    def setUp(self):
        super().setUp()
        dnc.upload(numbered(1000), self.path("shards"), progress=False)
        # A thread of this very process serves the shards: it can only do so while
        # the stream that waits for them leaves it the interpreter.
        self.server = GatedServer(self.path("shards"))
        self.addCleanup(self.server.stop)

    def test_waits_without_the_interpreters_lock(self):
        batches = dnc.stream(self.server.url, batch_size=1000)
        opener = threading.Thread(target=self.server.open_when_asked)
        opener.start()
        x, y = next(batches)
        opener.join()
        self.assertEqual(len(y), 1000)

    def test_a_keyboard_interrupt_ends_the_wait_and_loses_nothing(self):
        batches = dnc.stream(self.server.url, batch_size=1000)
        waiting = threading.Event()

        def interrupt():
            self.server.asked.wait()
            waiting.wait()
            time.sleep(0.1)  # Into the wait itself; before it, the test passes as well.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with self.assertRaises(KeyboardInterrupt):
            waiting.set()
            next(batches)
        thread.join()
        self.server.gate.set()
        self.assertEqual(len(next(batches).y), 1000)


if __name__ == "__main__":
    unittest.main()
