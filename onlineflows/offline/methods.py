"""The table of offline methods."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onlineflows.offline.cwola import Evaluation, MethodConfig, MethodResult, cwola


class Method(Protocol):
    """Learns from unlabelled events and is rated on labelled ones."""

    def __call__(
        self,
        train_x: NDArray[np.floating[Any]],
        evaluation: Evaluation,
        *,
        config: MethodConfig,
        rng: np.random.Generator,
        progress: Callable[[], None] = ...,
    ) -> MethodResult:
        """Returns AUC, SIC and curve on the evaluation events of the signal region."""
        ...


METHODS: Mapping[str, Method] = MappingProxyType({"cwola": cwola})
"""Every method by its name in configurations and reports."""
