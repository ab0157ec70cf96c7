"""Events on their way into a model whose θ is on a GPU: mapped there, and kept there."""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onlineflows.online.buffer import Events, WindowBuffer
from onlineflows.online.staging import Staging
from onlineflows.preprocess import Preprocessing
from onlineflows.settings import BufferConfig
from onlineflows.support import EPSILON

CHUNK_EVENTS = 65_536
"""Events that are sent to the device together."""
MAPPED_AT_ONCE = 256
TOLERANCE = 1e-5
"""Difference of a coordinate, or relative where it is above 1, beyond which the device isn't
trusted: some units in the last place of float32."""

logger = logging.getLogger(__name__)


class DeviceMap:
    """Maps events to the flow's coordinates on a GPU, as `Preprocessing.forward` does.

    Needs Triton; on a CPU it only runs in Triton's interpreter.

    Args:
        preprocessing: the frozen map.
        device: where the coordinates are wanted.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        # Loaded here, because Triton comes with torch's CUDA builds only.
        from onlineflows.flows.gpu.map_kernels import map_kernel

        self._kernel = map_kernel
        marginal = preprocessing.marginal
        self._d, self._knots = marginal.v.shape
        supports = [(*support.coefficients, EPSILON) for support in preprocessing.supports]
        pieces = marginal.pieces
        table = (pieces.v, pieces.z, pieces.per_width, pieces.rise, pieces.curve, pieces.bend)
        self._tables = [
            torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64)).to(device)
            for array in (np.array(supports), marginal.v, np.stack(table))
        ]
        self._arriving = torch.zeros(CHUNK_EVENTS, self._d, device=device)
        self._staging = Staging(self._arriving)

    def forward(self, x: Events) -> Tensor:
        """Returns coordinates, float32, shape (n, d), on the device; doesn't wait for them.

        Args:
            x: events inside the support, shape (n, d), in the schema's units; copied.
        """
        z = self._arriving.new_empty(x.shape)
        for start in range(0, len(x), CHUNK_EVENTS):
            part = x[start : start + CHUNK_EVENTS]
            self._staging.send(part)
            self._kernel[(-(-len(part) // MAPPED_AT_ONCE), self._d)](
                self._arriving,
                z[start : start + len(part)],
                *self._tables,
                len(part),
                D=self._d,
                K=self._knots,
                SIZE=MAPPED_AT_ONCE,
            )
        return z


class DeviceWindow(WindowBuffer):
    """A window whose events lie on a device, and so do the mini-batches that it yields.

    Mini-batches, counters and state are those of `WindowBuffer`. What is fed is on the device.

    Args:
        n_features: features of an event.
        config: capacity and uses.
        batch_size: events of a mini-batch once all lanes are running.
        seed: seed of the random orders.
        device: where events lie.
    """

    def __init__(
        self,
        n_features: int,
        config: BufferConfig,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
    ) -> None:
        sizes = {"capacity": config.capacity, "uses": config.uses}
        super().__init__(n_features, batch_size=batch_size, seed=seed, **sizes)
        # The host's store is only for `state` and `load`.
        self._held = torch.from_numpy(self._store).to(device, copy=True)
        self._uploaded: dict[tuple[int, int], Tensor] = {}

    def feed(self, z: Any) -> Iterator[Any]:
        """Takes events in and yields each mini-batch as it becomes due: tensors on the device."""
        return super().feed(z)

    def drain(self) -> Iterator[Any]:
        """Yields the mini-batches that are still owed once the stream has ended."""
        return super().drain()

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Returns everything a restart needs, as named arrays of fixed sizes."""
        self._store[...] = self._held.cpu().numpy()
        return super().state()

    def load(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Takes up the state that another buffer of the same configuration returned."""
        super().load(state)
        self._held.copy_(torch.from_numpy(self._store))
        self._uploaded = {}

    def _write(self, segment: int, rows: slice, part: Any) -> None:
        self._held[segment % self._uses, rows] = part

    def _read(self, segment: int, rows: Any) -> Any:
        return self._held[segment % self._uses][rows]

    def _join(self, lanes: list[Any]) -> Any:
        return torch.cat(lanes)

    def _order(self, segment: int, lane: int) -> Any:
        if (segment, lane) not in self._uploaded:
            self._uploaded = {k: v for k, v in self._uploaded.items() if k[1] != lane}
            order = torch.from_numpy(super()._order(segment, lane))
            if self._held.device.type == "cuda":
                # From page-locked memory nobody waits for the copy.
                order = order.pin_memory().to(self._held.device, non_blocking=True)
            self._uploaded[segment, lane] = order
        return self._uploaded[segment, lane]


def device_map(preprocessing: Preprocessing, device: torch.device) -> Callable[[Events], Tensor]:
    """Returns what maps events to coordinates on a device, both of shape (n, d).

    The kernel is compared with the host's map once, on the device itself; if it can't run or is
    wrong, the host maps, and a warning says so.
    """

    def by_host(x: Events) -> Tensor:
        return torch.from_numpy(preprocessing.forward(x)[0].astype(np.float32)).to(device)

    if importlib.util.find_spec("triton") is None:
        return by_host
    from onlineflows.flows.gpu.map_kernels import TritonError

    on_device = DeviceMap(preprocessing, device)
    try:
        error = map_error(on_device, preprocessing)
    except (RuntimeError, TritonError) as failure:
        logger.warning("events are mapped by the host: the kernel doesn't run here: %r", failure)
        return by_host
    # Written so that NaN fails.
    if not error < TOLERANCE:
        logger.warning("events are mapped by the host: the kernel is off by %.1e", error)
        return by_host
    return on_device.forward


def map_error(on_device: DeviceMap, preprocessing: Preprocessing, *, n_events: int = 4096) -> float:
    """Returns the largest difference of a coordinate from the host's, relative where above 1."""
    schema = preprocessing.schema
    # Wide enough that many are in the tails.
    z = 2 * np.random.default_rng(1).standard_normal((n_events, schema.n_features))
    # What float32 can't hold becomes infinite, and is left out.
    with np.errstate(over="ignore"):
        x = preprocessing.inverse(z).astype(np.float32)
    x = x[schema.in_support(x)]
    exact = preprocessing.forward(x)[0]
    found = on_device.forward(x).cpu().numpy()
    return float((np.abs(found - exact) / np.maximum(np.abs(exact), 1)).max(initial=0))
