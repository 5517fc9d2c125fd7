"""Estimators of scikit-learn, batch by batch: whatever has ``partial_fit``.

    from dividenconquer.sklearn import Incremental
    from sklearn.linear_model import SGDClassifier

    model = Incremental(SGDClassifier(), standardise=True)
    model.fit("./shards", epochs=5)
    model.score("./shards", split="test")
"""

from __future__ import annotations

import os
from typing import Any, Iterator, Mapping

import numpy as np

from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics import accuracy_score, get_scorer, r2_score

from ._dataset import inspect
from ._manifest import Manifest
from ._progress import make_bar
from ._standardise import Standardiser
from ._stream import stream
from .errors import InvalidArgumentError

__all__ = ["Incremental", "Standardiser"]


class Incremental(BaseEstimator):
    """Fits `estimator` to a divided dataset that need not fit into memory.

    estimator: with ``partial_fit``; it is cloned, the fitted one is `estimator_`.
    standardise: x is standardised by the manifest's statistics of the training split.
    batch_size, shuffle, seed, memory, disk, store: as for `dividenconquer.stream`.
    epochs: passes over the training split, unless `fit` is told otherwise.
    scoring: a scorer's name for `score`; accuracy or R² by default.
    progress: show a bar of samples.

    Samples of any shape are flattened to (samples, features).
    """

    def __init__(
        self, estimator: Any, *, epochs: int = 1, batch_size: int = 1024, shuffle: bool = True,
        seed: int = 0, memory: int | str = "64MiB", disk: int | str = "256MiB",
        standardise: bool = False, scoring: str | None = None, progress: bool = False,
        store: Mapping[str, Any] | None = None,
    ) -> None:
        self.estimator = estimator
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.memory = memory
        self.disk = disk
        self.standardise = standardise
        self.scoring = scoring
        self.progress = progress
        self.store = store

    def fit(self, location: Any, *, epochs: int | None = None, split: str = "train",
            **fit_params: Any) -> Incremental:
        """Fits a fresh clone to `epochs` passes over a split of the dataset at `location`.
        fit_params go to every ``partial_fit``."""
        self.estimator_ = clone(self.estimator)
        return self.partial_fit(location, epochs=epochs, split=split, **fit_params)

    def partial_fit(self, location: Any, *, epochs: int | None = None, split: str = "train",
                    **fit_params: Any) -> Incremental:
        """As `fit`, but goes on with the estimator as it is."""
        manifest = inspect(location, store=self.store)
        if not hasattr(self, "estimator_"):
            self.estimator_ = clone(self.estimator)
        if self.standardise:
            self.standardiser_ = Standardiser.from_manifest(manifest, split=split)
        params = dict(fit_params)
        if is_classifier(self.estimator_) and "classes" not in params:
            params["classes"] = manifest.classes
            if params["classes"] is None:
                raise InvalidArgumentError(
                    f"{manifest.location}: column y is no column of classes; a classifier needs "
                    "whole numbers or texts as labels, or classes=...")
        passes = self.epochs if epochs is None else epochs
        total = passes * manifest.split(split).samples
        bar = make_bar(total, "fit", "samples") if self.progress else None
        try:
            for x, y in self._batches(manifest, split, shuffle=self.shuffle, epochs=passes):
                self.estimator_.partial_fit(x, y, **params)
                if bar is not None:
                    bar.update(len(y))
        finally:
            if bar is not None:
                bar.close()
        self.manifest_ = manifest
        return self

    def predict(self, data: Any, *, split: str = "test") -> np.ndarray:
        """Predictions for an array of samples, or for a split of a dataset, in the order
        of its samples."""
        return self._apply("predict", data, split)[0]

    def predict_proba(self, data: Any, *, split: str = "test") -> np.ndarray:
        """As `predict`: (samples, classes)."""
        return self._apply("predict_proba", data, split)[0]

    def score(self, data: Any, y: Any = None, *, split: str = "test") -> float:
        """The score on (array of samples, y), or on a split of a dataset."""
        if self.scoring is not None:
            if not _is_location(data):
                return float(get_scorer(self.scoring)(self.estimator_, self._prepare(data), y))
            parts = list(self._batches(_opened(data, self.store), split, shuffle=False))
            x = np.concatenate([part[0] for part in parts])
            labels = np.concatenate([part[1] for part in parts])
            return float(get_scorer(self.scoring)(self.estimator_, x, labels))
        predicted, labels = self._apply("predict", data, split)
        metric = accuracy_score if is_classifier(self.estimator_) else r2_score
        return float(metric(labels if y is None else y, predicted))

    def _apply(self, method: str, data: Any, split: str) -> tuple[np.ndarray, Any]:
        if not hasattr(self, "estimator_"):
            raise InvalidArgumentError("this Incremental is not fitted yet; call fit() first")
        apply = getattr(self.estimator_, method)
        if not _is_location(data):
            return apply(self._prepare(data)), None
        results, labels = [], []
        for x, y in self._batches(_opened(data, self.store), split, shuffle=False):
            results.append(apply(x))
            labels.append(np.array(y))
        return np.concatenate(results), np.concatenate(labels)

    def _batches(self, manifest: Manifest, split: str, *, shuffle: bool, epochs: int = 1
                 ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        manifest.column("x"), manifest.column("y")
        with stream(manifest, columns=("x", "y"), split=split, epochs=epochs, shuffle=shuffle,
                    batch_size=self.batch_size, seed=self.seed, memory=self.memory,
                    disk=self.disk) as batches:
            for x, y in batches:
                yield self._prepare(x), y

    def _prepare(self, x: Any) -> np.ndarray:
        x = np.asarray(x)
        if self.standardise:
            x = self.standardiser_.transform(x)
        return x.reshape(len(x), -1)


def _is_location(data: Any) -> bool:
    return isinstance(data, (str, os.PathLike, Manifest))


def _opened(data: Any, store: Mapping[str, Any] | None) -> Manifest:
    return data if isinstance(data, Manifest) else inspect(data, store=store)
