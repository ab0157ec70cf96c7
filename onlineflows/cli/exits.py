"""Exit codes: what a process tells the shell when it ends.

0 done; 1 the run failed; 2 the user's input was wrong, and the message says how to mend it.
"""

from onlineflows.errors import CheckpointError, ConfigError, DataError, SnapshotError
from streams.errors import InputError, RefusedError, SchemaError, SecurityError, TransportError

DONE = 0
FAILED = 1
BAD_INPUT = 2

USERS_INPUT: tuple[type[Exception], ...] = (
    CheckpointError,
    ConfigError,
    DataError,
    InputError,
    RefusedError,
    SchemaError,
    SecurityError,
    SnapshotError,
    TransportError,
)
"""Errors that the user can mend: a file, a setting, an address, the choice of a snapshot."""


def code_of_child(code: int) -> int:
    """Returns the exit code that tells how a child process ended.

    Args:
        code: its own; negative where a signal ended it, which no shell would understand.

    Example:
        >>> [code_of_child(code) for code in (0, 2, -9)]
        [0, 2, 1]
    """
    return code if code >= 0 else FAILED


def exit_code(error: BaseException) -> int:
    """Returns the exit code of a process that an error ends.

    Example:
        >>> exit_code(ConfigError("flow.bins: expected at least 2; got 1"))
        2
        >>> exit_code(KeyboardInterrupt())
        1
    """
    return BAD_INPUT if isinstance(error, USERS_INPUT) else FAILED
