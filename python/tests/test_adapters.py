"""The same samples through scikit-learn, torch and Keras, where they are installed."""

import importlib.util
import unittest

import numpy as np

import dividenconquer as dnc
from helpers import FolderTest, numbered


def needs(module):
    return unittest.skipUnless(importlib.util.find_spec(module), f"{module} is not installed")


class StandardiserTest(FolderTest):
    def test_does_what_a_pass_over_the_data_would(self):
        x = np.random.default_rng(1).normal([1, 5, -3], [2, 0.1, 0], (400, 3))
        dnc.upload(x, self.path("shards"), progress=False)
        z = dnc.Standardiser.from_manifest(self.path("shards")).transform(x)
        deviation = np.where(x.std(0) > 1e-9, x.std(0), 1)
        np.testing.assert_allclose(z, (x - x.mean(0)) / deviation, atol=1e-9)
        self.assertEqual(z.dtype, np.float64)

    def test_images_have_one_mean_and_deviation(self):
        x = np.random.default_rng(1).integers(0, 256, (50, 4, 4), dtype=np.uint8)
        manifest = dnc.upload(x, self.path("shards"), progress=False)
        z = dnc.Standardiser.from_manifest(manifest)(x)
        np.testing.assert_allclose(z, (x - x.mean()) / x.std(), atol=1e-5)
        self.assertEqual(z.dtype, np.float32)

    def test_refuses_texts(self):
        dnc.upload({"x": ["a", "b"]}, self.path("shards"), progress=False)
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "only arrays"):
            dnc.Standardiser.from_manifest(self.path("shards"))


@needs("sklearn")
class SklearnTest(FolderTest):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.y = rng.integers(0, 3, 3000)
        self.x = (rng.normal(size=(3000, 4)) + 4 * np.eye(4)[self.y]).astype(np.float32) * 100
        self.shards = self.path("shards")
        dnc.upload((self.x, self.y), self.shards, split="train=0.8,test=0.2", progress=False)

    def test_fits_and_scores_as_on_the_whole(self):
        from sklearn.linear_model import SGDClassifier

        from dividenconquer.sklearn import Incremental

        model = Incremental(SGDClassifier(random_state=0), epochs=3, standardise=True)
        self.assertIs(model.fit(self.shards), model)
        self.assertGreater(model.score(self.shards), 0.95)
        self.assertEqual(model.predict(self.shards).shape, (600,))
        predicted = model.predict(self.x)
        self.assertAlmostEqual(model.score(self.x, self.y), (predicted == self.y).mean())
        again = Incremental(SGDClassifier(random_state=0), epochs=3, standardise=True)
        np.testing.assert_array_equal(again.fit(self.shards).estimator_.coef_,
                                      model.estimator_.coef_)

    def test_goes_on_with_partial_fit_and_takes_a_scorer(self):
        from sklearn.naive_bayes import GaussianNB

        from dividenconquer.sklearn import Incremental

        model = Incremental(GaussianNB(), batch_size=100, scoring="f1_macro")
        model.partial_fit(self.shards).partial_fit(self.shards, epochs=2)
        self.assertEqual(model.estimator_.class_count_.sum(), 3 * 2400)
        self.assertGreater(model.score(self.shards), 0.95)
        self.assertEqual(model.predict_proba(self.shards).shape, (600, 3))

    def test_regressors_need_no_classes(self):
        from sklearn.linear_model import SGDRegressor

        from dividenconquer.sklearn import Incremental

        y = self.x @ np.array([1, 2, 3, 4], dtype=np.float32)
        dnc.upload((self.x, y), self.path("regression"), progress=False)
        model = Incremental(SGDRegressor(), epochs=5, standardise=True)
        self.assertGreater(model.fit(self.path("regression")).score(
            self.path("regression"), split="train"), 0.99)

    def test_says_what_is_wrong(self):
        from sklearn.linear_model import SGDClassifier

        from dividenconquer.sklearn import Incremental

        with self.assertRaisesRegex(dnc.InvalidArgumentError, "fit"):
            Incremental(SGDClassifier()).predict(self.x)
        dnc.upload((self.x, self.x[:, 0]), self.path("floats"), progress=False)
        with self.assertRaisesRegex(dnc.InvalidArgumentError, "no column of classes"):
            Incremental(SGDClassifier()).fit(self.path("floats"))


@needs("torch")
class TorchTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.x, _ = numbered(1000)
        self.shards = self.path("shards")
        dnc.upload((self.x, np.arange(1000)), self.shards, progress=False)

    def seen(self, loader):
        numbers = []
        for x, y in loader:
            np.testing.assert_array_equal(x.numpy(), self.x[y.numpy()])
            numbers += y.tolist()
        return numbers

    def test_gives_tensors_over_the_same_memory(self):
        from dividenconquer.torch import IterableDataset

        dataset = IterableDataset(self.shards, batch_size=64)
        first, second = self.seen(dataset), self.seen(dataset)
        self.assertEqual(sorted(first), list(range(1000)))
        self.assertNotEqual(first, second)
        dataset.set_epoch(0)
        self.assertEqual(self.seen(dataset), first)

    def test_workers_share_an_epoch(self):
        from torch.utils.data import DataLoader

        from dividenconquer.torch import IterableDataset

        dataset = IterableDataset(self.shards, batch_size=64)
        loader = DataLoader(dataset, batch_size=None, num_workers=2)
        self.assertEqual(sorted(self.seen(loader)), list(range(1000)))

    def test_resumes(self):
        from dividenconquer.torch import IterableDataset

        dataset = IterableDataset(self.shards, batch_size=100)
        whole = self.seen(dataset)
        dataset.set_epoch(0)
        batches = iter(dataset)
        next(batches), next(batches)
        other = IterableDataset(self.shards, batch_size=100)
        other.load_state_dict(dataset.state_dict())
        self.assertEqual(self.seen(other), whole[200:])


@needs("keras")
class KerasTest(FolderTest):
    def test_gives_every_epoch_in_order(self):
        from dividenconquer.keras import Sequence

        x, _ = numbered(1000)
        dnc.upload((x, np.arange(1000)), self.path("shards"), progress=False)
        sequence = Sequence(self.path("shards"), batch_size=300)
        self.assertEqual(len(sequence), 4)
        epochs = []
        for _ in range(2):
            self.assertIs(sequence[0], sequence[0])  # Keras looks at it twice.
            epochs.append([int(i) for k in range(4) for i in sequence[k][1]])
            sequence.on_epoch_end()
        self.assertEqual(sorted(epochs[0]), list(range(1000)))
        self.assertNotEqual(epochs[0], epochs[1])
        self.assertEqual(sorted(epochs[1]), list(range(1000)))


if __name__ == "__main__":
    unittest.main()
