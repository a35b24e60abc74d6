"""Models written by the real exporters of scikit-learn, Keras and JAX: `pip install '.[exporters]'`."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipcert.bounds.api import bound
from lipcert.errors import UnsupportedModel
from lipcert.graph.evaluate import forward
from lipcert.importer import load

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 5)).astype(np.float32)
TARGET = X @ rng.standard_normal(5) + np.abs(X[:, 0])
CLASSES = (TARGET > 0).astype(int) + (TARGET > 1).astype(int)


def sound(path: Path, output: str | None = None) -> Any:
    """The graph, whose bounds are in order."""
    graph = load(path, output=output)
    found = bound(graph, lower_seconds=0.2, time_limit=5.0)
    assert found.lower is not None
    assert 0.0 < found.lower <= found.upper
    return graph


class TestScikitLearn:
    def written(self, model: Any, folder: Path, **options: Any) -> Path:
        skl2onnx = pytest.importorskip("skl2onnx")
        path = folder / "model.onnx"
        path.write_bytes(
            skl2onnx.to_onnx(model, X[:1], options={id(model): options} if options else None).SerializeToString()
        )
        return path

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("scaler", ["StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler"])
    def test_regressors(self, scaler: str, tmp_path: Path) -> None:
        preprocessing = pytest.importorskip("sklearn.preprocessing")
        pytest.importorskip("skl2onnx")
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge
        from sklearn.neural_network import MLPRegressor
        from sklearn.pipeline import make_pipeline

        for last in (Ridge(), MLPRegressor(hidden_layer_sizes=(6, 4), activation="tanh", max_iter=5)):
            model = make_pipeline(getattr(preprocessing, scaler)(), PCA(3), last).fit(X, TARGET)
            graph = sound(self.written(model, tmp_path))
            np.testing.assert_allclose(forward(graph, X.T.astype(float))[0], model.predict(X), rtol=1e-3, atol=1e-3)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("classes", [2, 3])
    def test_classifiers(self, classes: int, tmp_path: Path) -> None:
        pytest.importorskip("skl2onnx")
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        for last in (LogisticRegression(), MLPClassifier((6,), max_iter=5)):
            model = make_pipeline(StandardScaler(), last).fit(X, np.minimum(CLASSES, classes - 1))
            graph = sound(self.written(model, tmp_path, zipmap=False), output="probabilities")
            np.testing.assert_allclose(forward(graph, X.T.astype(float)).T, model.predict_proba(X), atol=1e-5)

    def test_what_jumps(self, tmp_path: Path) -> None:
        pytest.importorskip("skl2onnx")
        from sklearn.tree import DecisionTreeRegressor

        path = self.written(DecisionTreeRegressor(max_depth=2).fit(X, TARGET), tmp_path)
        with pytest.raises(UnsupportedModel, match="step function of its inputs"):
            load(path)


KERAS = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import sys
import keras
import numpy as np
keras.utils.set_random_seed(0)
layers = keras.layers
models = {
    "dense": [keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")],
    "convolution": [keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="elu"), layers.MaxPooling2D(),
                    layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)],
}
for name, parts in models.items():
    model = keras.Sequential(parts)
    model(np.zeros((1, *model.input_shape[1:]), "float32"))
    model.export(f"{sys.argv[1]}/{name}.onnx", format="onnx", verbose=False)
"""


def exported(script: str, folder: Path) -> None:
    """What a script writes, in a process of its own: exporters set backends and log."""
    result = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=800)
    assert result.returncode == 0, result.stderr


@pytest.mark.timeout(900)
def test_keras(tmp_path: Path) -> None:
    if find_spec("keras") is None or find_spec("torch") is None:
        pytest.skip("no Keras: pip install 'lipcert[exporters]'")
    exported(KERAS, tmp_path)
    assert sound(tmp_path / "dense.onnx").output_size == 3
    assert sound(tmp_path / "convolution.onnx").input_size == 64


JAX = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax2onnx import to_onnx
rng = np.random.default_rng(0)
W, b, V = (rng.standard_normal(shape).astype("float32") for shape in ((16, 4), 16, (3, 16)))
hidden = lambda x: x @ W.T + b
functions = {
    "tanh": lambda x: jnp.tanh(hidden(x)) @ V.T,
    "softmax": lambda x: jax.nn.softmax(jax.nn.gelu(hidden(x)) @ V.T),
    "log_softmax": lambda x: jax.nn.log_softmax(jax.nn.silu(hidden(x)) @ V.T),
    "log_sum_exp": lambda x: jax.nn.logsumexp(hidden(x), axis=-1),
    "sort": lambda x: jnp.sort(hidden(x).reshape(-1, 4, 4), axis=-1).reshape(-1, 16) @ V.T,
    "maximum": lambda x: jnp.maximum(hidden(x)[:, :8], hidden(x)[:, 8:]) @ V[:, :8].T,
}
for name, function in functions.items():
    shape = [jax.ShapeDtypeStruct((1, 4), jnp.float32)]
    to_onnx(function, shape, return_mode="file", output_path=f"{sys.argv[1]}/{name}.onnx")
"""


@pytest.mark.timeout(900)
def test_jax(tmp_path: Path) -> None:
    if find_spec("jax2onnx") is None:
        pytest.skip("no jax2onnx: pip install 'lipcert[exporters]'")
    exported(JAX, tmp_path)
    paths = sorted(tmp_path.glob("*.onnx"))
    assert len(paths) == 6
    for path in paths:
        sound(path)
