"""The operators of ai.onnx.ml that are affine, or become so: how scikit-learn's scalers and linear models arrive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from lipcert.arrays import Array
from lipcert.graph.linear_maps import Dense
from lipcert.graph.nodes import Activation, Affine
from lipcert.importer.activations import indices
from lipcert.importer.linear import broadcast, scale
from lipcert.importer.registry import Context, Tensor, Value, handles

ML = "ai.onnx.ml"


@handles(f"{ML}.Scaler")
def scaler(ctx: Context) -> Tensor:
    """(x − offset)·scale, as of StandardScaler and MinMaxScaler."""
    x = ctx.tensor(0)
    offset, factor = (np.asarray(ctx.attribute(key, [unit]), np.float64) for key, unit in (("offset", 0), ("scale", 1)))
    return scale(ctx, ctx.shift(broadcast(ctx, x, x.shape), -offset), factor)


@handles(f"{ML}.LinearRegressor")
def linear_regressor(ctx: Context) -> Value:
    """A linear regression without a transformation of its scores."""
    targets = int(ctx.attribute("targets", 1))
    if (post := ctx.attribute("post_transform", "NONE")) != "NONE":
        raise ctx.unsupported(f"there is no proven treatment of its transformation {post}", "export it with NONE")
    return _scores(ctx, targets)


@handles(f"{ML}.LinearClassifier")
def linear_classifier(ctx: Context) -> list[Value]:
    """The scores of a linear classifier, logistic, softmax or plain; its labels jump."""
    labels = len(ctx.attribute("classlabels_ints", []) or ctx.attribute("classlabels_strings", []))
    rows = len(ctx.attribute("intercepts", [])) or labels
    post = ctx.attribute("post_transform", "NONE")
    scores = _scores(ctx, rows)
    if rows == 1 and post != "LOGISTIC":
        raise ctx.unsupported(
            "ONNX and ONNX Runtime disagree on the scores of a single row of coefficients", "give one row to each class"
        )
    if post == "LOGISTIC":
        if rows == 1 and labels == 2:
            both = ctx.affine([(scores, Dense(np.array([[-1.0], [1.0]])))], (*scores.shape[:-1], 2))
            return [indices(ctx, (1,)), ctx.activation(both, "sigmoid")]
        return [indices(ctx, (1,)), ctx.activation(scores, "sigmoid")]
    if post == "SOFTMAX":
        return [indices(ctx, (1,)), ctx.activation(scores, "softmax", rows, channel_axis=None)]
    if post != "NONE":
        raise ctx.unsupported(f"there is no proven treatment of its transformation {post}", "export it with NONE")
    return [indices(ctx, (1,)), scores]


def _scores(ctx: Context, rows: int) -> Tensor:
    """x Wᵀ + b."""
    x = ctx.tensor(0)
    coefficients = np.asarray(ctx.attribute("coefficients", []), np.float64)
    features = x.shape[-1] if x.shape else 0
    batch = x.size // max(features, 1)
    if batch != 1:
        raise ctx.unsupported(f"it works on {batch} samples at once", "export it for one sample")
    if coefficients.size != rows * features:
        raise ctx.invalid(f"{coefficients.size} coefficients do not fit {features} numbers and {rows} scores")
    intercepts = np.asarray(ctx.attribute("intercepts", []) or np.zeros(rows), np.float64)
    return ctx.shift(ctx.affine([(x, Dense(coefficients.reshape(rows, features)))], (1, rows)), intercepts)


@handles(f"{ML}.Normalizer")
def normalizer(ctx: Context) -> Value:
    """Of probabilities: of a softmax nothing, of sigmoids σ(zᵢ)/Σσ(zⱼ) = softmax(log σ(z)). Any other jumps at zero."""
    x = ctx.tensor(0)
    node = ctx.builder.nodes[x.position]
    norm = ctx.attribute("norm", "MAX")
    if norm == "L1" and isinstance(node, Activation) and x.shape and x.shape[-1] == x.size:
        if node.kind == "softmax" and node.blocks == 1:
            return x
        if node.kind == "sigmoid" and x.size == node.size:
            z = Tensor(node.parent, x.shape, x.dtype)
            if _opposite(ctx.builder.nodes[node.parent]):
                # σ(z) + σ(−z) = 1
                return x
            logarithms = ctx.activation(z, "log_sigmoid", channel_axis=None)
            return ctx.activation(logarithms, "softmax", x.size, channel_axis=None)
    raise ctx.unsupported(
        f"it divides by a norm ({norm}), which jumps where all its inputs pass through zero",
        "leave it out, or bound the scores before it with --to",
    )


def _opposite(node: Any) -> bool:
    """Whether a node gives two numbers z and −z."""
    if not isinstance(node, Affine) or node.size != 2:
        return False
    bias: Array = np.zeros(2) if node.bias is None else node.bias
    matrices = [a.to_sparse().toarray() for a in node.maps]
    return (
        bias.sum() == 0.0
        and not any(a.radius is not None for a in node.maps)
        and not any(m.sum(axis=0).any() for m in matrices)
    )


@handles(f"{ML}.ArrayFeatureExtractor")
def array_feature_extractor(ctx: Context) -> Tensor:
    """The columns of its input at constant positions."""
    x = ctx.tensor(0)
    columns = ctx.constant(1).ravel().astype(np.int64)
    if not x.shape or columns.size == 0 or not ((columns >= 0) & (columns < x.shape[-1])).all():
        raise ctx.invalid("it takes columns that its input does not have")
    matrix = np.arange(x.size, dtype=np.int64).reshape(-1, x.shape[-1])
    return ctx.index(x, matrix[:, columns])


@handles(f"{ML}.Imputer")
def imputer(ctx: Context) -> Value:
    """The identity where it replaces NaN, which no real number is; any other replacement jumps."""
    replaced = ctx.attribute("replaced_value_float")
    if replaced is None or not np.isnan(replaced):
        raise ctx.unsupported("it replaces one number by another: a jump", "impute before the network")
    return replace(ctx.tensor(0))


@handles(*(f"{ML}.{op}" for op in ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "Binarizer")))
def steps(ctx: Context) -> NoReturn:
    """Refused: it is a step function of its inputs."""
    raise ctx.unsupported(
        "it is a step function of its inputs, so it jumps",
        "use a linear model or a neural network, or bound what is before it with --to",
    )


@handles(
    *(f"{ML}.{op}" for op in ("ZipMap", "LabelEncoder", "CategoryMapper", "OneHotEncoder", "CastMap", "DictVectorizer"))
)
def tables(ctx: Context) -> NoReturn:
    """Refused: it looks up a table, or makes a dictionary."""
    name = ctx.node.input[0] if ctx.node.input else ""
    raise ctx.unsupported(
        "it looks up a table or makes a dictionary, which is no number to bound",
        f"bound the value before it: --to {name!r}; skl2onnx leaves ZipMap out with options={{'zipmap': False}}",
    )
