"""A mixture of densities with equal weights: what an ensemble of replicas says together."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from onlineflows.density import AnyDensity, Array, Density, Draw, Events
from onlineflows.errors import ConfigError


class Mixture:
    """p(x) = 1/K Σ p_k(x): replicas averaged as densities, not as log densities.

    It is a density like any other: its conditional is the ratio of its joint and its marginal.

    Args:
        densities: the p_k, over the same schema.

    Raises:
        ConfigError: there are none.
        SchemaError: their schemas differ.
    """

    def __init__(self, densities: Sequence[AnyDensity]) -> None:
        if not densities:
            raise ConfigError("expected at least one density to mix; got none")
        self.densities = tuple(densities)
        self.schema = densities[0].schema
        for density in densities[1:]:
            self.schema.require_equal(density.schema, where="densities of one mixture")

    def __repr__(self) -> str:
        return f"<mixture of {len(self.densities)}: {self.densities[0]!r}>"

    def log_prob(self, x: Events) -> Array:
        """Returns log p(x) in nats, shape (n,), float64; -inf outside the support."""
        return self._mean(lambda density: density.log_prob(x))

    def log_prob_resonant(self, m: Events) -> Array:
        """Returns log p(m), the marginal density of the resonant feature, shape (n,).

        Args:
            m: its values, shape (n,); or whole events, shape (n, d), whose first column is taken.
        """
        return self._mean(lambda density: density.log_prob_resonant(m))

    def log_prob_conditional(self, x: Events) -> Array:
        """Returns log p(x' | m) of the features beside the resonant one, shape (n,)."""
        result = self.log_prob(x)
        inside = np.isfinite(result)
        result[inside] -= self.log_prob_resonant(x[inside])
        return result

    def sample(self, n: int, seed: int) -> NDArray[np.float32]:
        """Returns n events drawn from p(x), shape (n, d): event i from density i mod K."""
        x = np.empty((n, self.schema.n_features), dtype=np.float32)
        for k, density in enumerate(self.densities):
            mine = x[k :: len(self.densities)]
            mine[...] = density.sample(len(mine), _seed(seed, k))
        return x

    def draw(self, n: int, seed: int) -> Draw:
        """Returns what `sample` does, and how many draws were no events.

        Raises:
            ConfigError: a member isn't a learned density and doesn't count them.
        """
        x = np.empty((n, self.schema.n_features), dtype=np.float32)
        n_rejected = n_on_edge = 0
        for k, density in enumerate(self.densities):
            if not isinstance(density, Density | Mixture):
                raise ConfigError(f"expected learned densities to draw from; got {density!r}")
            mine = x[k :: len(self.densities)]
            drawn = density.draw(len(mine), _seed(seed, k))
            mine[...] = drawn.x
            n_rejected += drawn.n_rejected
            n_on_edge += drawn.n_on_edge
        return Draw(x, n_rejected, n_on_edge)

    def sample_given(self, m: Events, seed: int) -> NDArray[np.float32]:
        """Returns one event drawn from p(x | m) for each value of the resonant feature.

        Each event's density is drawn with its share of p(m), so that the events follow the
        mixture's own conditional.

        Args:
            m: values of the resonant feature inside its support, shape (n,).
            seed: of the draws.

        Returns:
            Shape (n, d); column 0 is m.

        Raises:
            DataError: some m is outside the support.
        """
        log_share = np.stack([density.log_prob_resonant(m) for density in self.densities])
        # The largest of log p_k(m) + Gumbel noise has index k with probability p_k(m) / Σ p_j(m).
        noise = np.random.default_rng(_seed(seed, len(self.densities))).gumbel(size=log_share.shape)
        chosen = np.argmax(log_share + noise, axis=0)
        x = np.empty((len(m), self.schema.n_features), dtype=np.float32)
        for k, density in enumerate(self.densities):
            mine = chosen == k
            x[mine] = density.sample_given(m[mine], _seed(seed, k))
        return x

    def _mean(self, log_prob: Callable[[AnyDensity], Array]) -> Array:
        """Returns log 1/K Σ p_k."""
        total = log_prob(self.densities[0])
        for density in self.densities[1:]:
            total = np.logaddexp(total, log_prob(density))
        mean: Array = total - np.log(len(self.densities))
        return mean


def _seed(seed: int, k: int) -> int:
    """A seed for each member."""
    state = np.random.SeedSequence((seed, k)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
