"""Densities as ONNX models: log p of events, and events from noise.

Each function is a model of its own, since a runtime wants all inputs of a model at once. Both are
written from one graph of torch operations (`graph`) by torch's exporter, stripped of what that
notes about the machine it ran on, and compared with the snapshot's own density before they are
handed out.
"""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onlineflows.density import Density
from onlineflows.errors import ConfigError, OnlineFlowsError
from onlineflows.export.graph import LogProbGraph, SampleGraph
from onlineflows.mixture import Mixture
from streams import EventSchema

logger = logging.getLogger(__name__)

EXTRA = "onnx"
AGREEMENT = 1e-4
"""The largest difference that goes without saying."""
LARGE_LOG_PROB = 100.0
"""Beyond it, differences of log p are taken relative to it: float32 has seven digits."""
CHECKED_EVENTS = 2000
TRACED_EVENTS = 7
"""Any number but 0 and 1, which tracing takes for constants."""

LOG_PROB_OUTPUTS = ("log_prob", "log_prob_resonant")
SAMPLE_OUTPUTS = ("events", "is_event")


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A model and how well it agrees with the density.

    Args:
        content: of the file.
        difference: the largest difference from the density that was met: of log p, in nats, or in
            hundredths of it where it is beyond ±100; of samples, in the features' central widths,
            or relative to those that are larger.
        n_checked: events that it was looked for in.
    """

    content: bytes
    difference: float
    n_checked: int


def log_prob_model(density: Density | Mixture, about: Mapping[str, Any]) -> OnnxModel:
    """Returns a model with log p of events in physical units, every Jacobian included.

    Input ``events``, float64 (n, d); outputs ``log_prob`` and ``log_prob_resonant``, float64 (n,),
    -inf outside the support. n is any number.

    Args:
        density: of one θ, or the mean of several.
        about: what is written into the model, besides the schema: plain JSON types.

    Raises:
        ConfigError: the extra `EXTRA` isn't installed.
    """
    members = _members(density)
    content = _exported(
        LogProbGraph(members),
        torch.zeros(TRACED_EVENTS, density.schema.n_features, dtype=torch.float64),
        ("events", LOG_PROB_OUTPUTS),
        _described(density.schema, about),
    )
    x = checked_events(density)
    found = run_model(content, "events", x)
    expected = (density.log_prob(x), density.log_prob_resonant(x))
    pairs = list(zip(found, expected, strict=True))
    difference = max(_largest_difference(a, b) for a, b in pairs)
    return _judged(OnnxModel(content, difference, len(x)), "log p", "nats")


def sample_model(density: Density, about: Mapping[str, Any]) -> OnnxModel:
    """Returns a model that makes events of standard normal noise.

    Input ``noise``, float32 (n, d); outputs ``events``, float32 (n, d), in the schema's units, and
    ``is_event``, bool (n,): false for the rare row that isn't finite or, rounded to float32, leaves
    the support; such rows are to be left out.

    Args:
        density: of one θ. The mean of several has no such map: draw from each in turn.
        about: as for `log_prob_model`.

    Raises:
        ConfigError: the extra `EXTRA` isn't installed.
    """
    d = density.schema.n_features
    graph = SampleGraph(density)
    described = _described(density.schema, about)
    content = _exported(graph, torch.zeros(TRACED_EVENTS, d), ("noise", SAMPLE_OUTPUTS), described)
    noise = torch.randn(CHECKED_EVENTS, d, generator=torch.Generator().manual_seed(1))
    found, is_event = run_model(content, "noise", noise.numpy())
    with torch.no_grad():
        expected = density.preprocessing.inverse(density.flow.inverse(noise).numpy())
    kept = is_event & density.schema.in_support(expected.astype(np.float32))
    low, high = np.quantile(expected[kept], [0.159, 0.841], axis=0)
    scale = np.maximum((high - low) / 2, np.abs(expected[kept]))
    apart = np.abs(found[kept] - expected[kept]) / np.where(scale > 0, scale, 1.0)
    difference = float(apart.max(initial=0.0))
    return _judged(OnnxModel(content, difference, int(kept.sum())), "samples", "widths")


def checked_events(density: Density | Mixture) -> NDArray[np.float64]:
    """Returns events that try a model: samples, the corners of the support and what lies outside.

    Of a feature without end, the corner is far beyond the samples.
    """
    x = density.sample(CHECKED_EVENTS, seed=1).astype(np.float64)
    schema = density.schema
    far = 10 * (x.max(axis=0) - x.min(axis=0))
    low = np.where(np.isfinite(schema.low), schema.low, x.min(axis=0) - far)
    high = np.where(np.isfinite(schema.high), schema.high, x.max(axis=0) + far)
    extremes = [x[:1].repeat(2 * x.shape[1], axis=0), np.stack([low, high])]
    for column in range(x.shape[1]):
        extremes[0][2 * column : 2 * column + 2, column] = low[column], high[column]
    outside = x[:3].copy()
    outside[:, 0] = [np.nan, np.inf, -np.inf]
    beyond = np.stack([low - far - 1, high + far + 1])
    return np.concatenate([x, *extremes, outside, beyond])


def run_model(content: bytes, name: str, values: NDArray[Any]) -> list[NDArray[Any]]:
    """Returns a model's outputs, as ONNX Runtime computes them on the CPU."""
    with _extra():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[Any]] = session.run(None, {name: values})
    return outputs


def _exported(
    graph: torch.nn.Module,
    example: torch.Tensor,
    names: tuple[str, tuple[str, ...]],
    properties: Mapping[str, str],
) -> bytes:
    """Returns a graph as ONNX, for any number of events.

    Args:
        graph: of one input.
        example: an input that it is traced with.
        names: of the input and of the outputs.
        properties: that the model carries.
    """
    with _extra():
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    with _quiet():
        program = torch.onnx.export(
            graph.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[names[0]],
            output_names=list(names[1]),
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )
    if program is None:
        raise OnlineFlowsError("expected an ONNX program of torch's exporter; got none")
    model = program.model_proto
    _strip(model)
    model.producer_name, model.producer_version = "onlineflows", ""
    onnx.helper.set_model_props(model, dict(properties))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(model: Any) -> None:
    """Removes the exporter's notes: names of modules, lines of source, paths of this machine."""
    graph = model.graph
    for part in (*graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.name = "onlineflows"


def _described(schema: EventSchema, about: Mapping[str, Any]) -> dict[str, str]:
    document = {**about, "schema": schema.to_dict()}
    return {"onlineflows": json.dumps(document, sort_keys=True)}


def _members(density: Density | Mixture) -> list[Density]:
    if isinstance(density, Density):
        return [density]
    members = [member for member in density.densities if isinstance(member, Density)]
    if len(members) < len(density.densities):
        raise ConfigError("expected a mean of learned densities; got one of others")
    return members


def _largest_difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The largest |a - b|, relative to large b; where one is -inf, the other must be, too."""
    finite = ~(np.isneginf(a) & np.isneginf(b))
    scale = np.maximum(np.abs(b[finite]) / LARGE_LOG_PROB, 1.0)
    return float((np.abs(a[finite] - b[finite]) / scale).max(initial=0.0))


def _judged(model: OnnxModel, what: str, unit: str) -> OnnxModel:
    if not model.difference <= AGREEMENT:
        logger.warning(
            f"the ONNX model's {what} differ from the snapshot's by more than {AGREEMENT} {unit}",
            extra={"difference": model.difference, "n_checked": model.n_checked},
        )
    return model


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    """Says which extra is missing where an import fails."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"expected the libraries of the extra {EXTRA!r} to write ONNX; got {error}: "
            f'pip install "onlineflows[{EXTRA}]"'
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what torch's exporter says of itself from users: nothing in it is theirs to mend."""
    loud = logging.getLogger("torch.onnx")
    before = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(before)
