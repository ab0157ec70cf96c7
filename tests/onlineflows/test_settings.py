"""What the user says of the learner is refused where it makes no sense, before anything runs."""

import pytest

from onlineflows.cli.config import load_config
from onlineflows.errors import ConfigError


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("flow.blocks=0", "flow.blocks: expected at least 1; got 0"),
        ("flow.bins=1", "flow.bins: expected at least 2; got 1"),
        ("flow.bound=inf", "flow.bound: expected a positive number; got inf"),
        ("preprocess.fit_events=0", "preprocess.fit_events: expected at least 1; got 0"),
        ("preprocess.knots=1", "preprocess.knots: expected at least 2; got 1"),
        ("optimiser.learning_rate=-1", "learning_rate: expected a positive number; got -1"),
        ("optimiser.learning_rate=nan", "learning_rate: expected a positive number; got nan"),
        ("optimiser.warmup_steps=-1", "optimiser.warmup_steps: expected at least 0; got -1"),
        ("optimiser.weight_decay=nan", "optimiser.weight_decay: expected at least 0; got nan"),
        ("trainer.batch_size=0", "trainer.batch_size: expected at least 1; got 0"),
        ("trainer.seed=-1", "trainer.seed: expected at least 0; got -1"),
        ("drift.delta=0", "drift.delta: expected a number between 0 and 1; got 0"),
        ("drift.sample_events=-1", "drift.sample_events: expected at least 0; got -1"),
        ("snapshot.keep=-1", "snapshot.keep: expected at least 0; got -1"),
        ("snapshot.manifest_nbytes=5", "snapshot.manifest_nbytes: expected at least 4096; got 5"),
        ("checkpoint.every_events=-1", "checkpoint.every_events: expected at least 0; got -1"),
        ("validate.folds=1", "validate.folds: expected at least 2; got 1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(override: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(None, [override])
