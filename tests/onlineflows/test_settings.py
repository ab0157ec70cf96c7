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
        (
            "validate.fit_range=[3.4, 6.9]",
            r"fit_range: expected .* validate.signal_region \(3.3, 3.7\); got \(3.4, 6.9\)",
        ),
        ("validate.fit_range=[6.9, 2.9]", "validate.fit_range: expected a range"),
        ("validate.fit_range=[2.9, nan]", "validate.fit_range: expected a range"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(override: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(None, [override])


def test_a_range_of_the_fit_that_was_left_alone_holds_up_no_run_in_another_unit() -> None:
    regions = ["validate.signal_region=[85.0, 97.0]", "validate.sidebands=[[70.0, 85.0]]"]
    settings = load_config(None, regions).validate
    with pytest.raises(ConfigError, match=r"got \(2.9, 6.9\), the default: set validate.fit_range"):
        settings.require_fit_range()
    both = load_config(None, [*regions, "validate.fit_range=[70.0, 112.0]"]).validate
    both.require_fit_range()
