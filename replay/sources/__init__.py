"""Where events come from: one module per format, each loaded only when it is asked for."""

from replay.settings import LhcoFeaturesConfig, LhcoParticlesConfig, SourceConfig, StandinConfig
from streams import Source

__all__ = ["open_source"]


def open_source(config: SourceConfig) -> Source:
    """Returns the stream that a configuration describes; the caller closes it.

    Args:
        config: the ``[source]`` section.

    Raises:
        InputError: a file is missing, damaged or of another kind than configured.
    """
    if isinstance(config, StandinConfig):
        from replay.sources.standin import StandinSource

        return StandinSource(config)
    if isinstance(config, LhcoFeaturesConfig):
        from replay.sources.hdf5 import open_features

        return open_features(config)
    if isinstance(config, LhcoParticlesConfig):
        from replay.sources.particles import open_particles

        return open_particles(config)
    from replay.sources.root import open_root

    return open_root(config)
