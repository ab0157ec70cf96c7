"""Everything that can go wrong in the learner, from configuration to report.

::

    OnlineFlowsError
    ├── ConfigError        a configuration or a command line is wrong
    ├── DataError          events or files given to the learner or to an offline method are wrong
    │   └── TooFewEventsError  there are not enough of them for what is asked
    ├── DivergedError      training met a non-finite loss or gradient and refused it
    ├── SnapshotError      a snapshot is damaged, incomplete or of another version
    └── CheckpointError    a checkpoint is damaged or belongs to another run

Every message says what was expected, what was found, where, and what to do.
"""


class OnlineFlowsError(Exception):
    """Root of the tree; catch it at the top of a process only."""


class ConfigError(OnlineFlowsError, ValueError):
    """A configuration or a command line is wrong.

    Also a ValueError, so that pydantic collects it with all others when it loads a configuration.
    """


class DataError(OnlineFlowsError):
    """Events or files given to the learner or to an offline method are wrong."""


class TooFewEventsError(DataError):
    """There are not enough events in a region or a class to learn anything from."""


class DivergedError(OnlineFlowsError):
    """Training met a non-finite loss or gradient; the parameters are as before the step."""


class SnapshotError(OnlineFlowsError):
    """A snapshot is damaged, incomplete or of another version."""


class CheckpointError(OnlineFlowsError):
    """A checkpoint is damaged or belongs to another run."""
