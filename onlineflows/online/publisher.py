"""Publishing: what a run says of itself, in snapshots whose size is known before it begins."""

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import onlineflows
from onlineflows.errors import ConfigError
from onlineflows.online.gate import FULLEST
from onlineflows.online.history import WIDEST_COUNT
from onlineflows.online.learned import LearnedModel
from onlineflows.online.learner import Learner
from onlineflows.online.manifest import Manifest, ModelEntry
from onlineflows.online.model_learner import ModelLearner
from onlineflows.online.signature import Signer
from onlineflows.online.snapshot import Snapshot, required_nbytes, write_snapshot
from onlineflows.settings import SnapshotConfig

logger = logging.getLogger(__name__)

LISTED = 16
"""Entries of a list of names (files, above all) that a manifest holds; of more, the number."""

LEDGER_COUNTS = ("mode", "sent", "trained", "skipped", "lost")
"""What a manifest says of the consumer's ledger."""

ROOM_NBYTES = 1024
"""Room kept in a manifest for what grows but is short: counts, skip reasons, why it is tainted."""


@dataclass(frozen=True, slots=True)
class About:
    """What stays the same in all manifests of a run.

    Args:
        run_name: the run's name.
        stream: what the producer said at the begin of the run.
        config: the run's configuration as plain JSON types.
    """

    run_name: str
    stream: Mapping[str, Any]
    config: Mapping[str, Any] = field(default_factory=dict)


class Publisher:
    """Writes the snapshots of one run.

    Args:
        folder: where to.
        config: when, how many are kept, and their manifest's size.
        now: the time of day, in UTC.
    """

    def __init__(
        self, folder: Path, config: SnapshotConfig, *, now: Callable[[], datetime]
    ) -> None:
        self._folder = folder
        self._config = config
        self._now = now
        key = config.signing_key
        self._signer = Signer.from_file(Path(key)) if key else None

    def require_room(self, about: About, learner: Learner) -> None:
        """Checks at the begin of a run that no manifest of it will be too long, however long it is.

        Raises:
            ConfigError: one could be.
        """
        manifest = self._manifest(about, learner, ledger={}, final=False)
        fullest = dataclasses.replace(
            manifest,
            models=tuple(_fullest(entry) for entry in manifest.models),
            history=learner.history.fullest(),
            drift=learner.drift.fullest(),
            gate=FULLEST.document(),
            n_seen=WIDEST_COUNT,
            n_trained=WIDEST_COUNT,
            n_uses=WIDEST_COUNT,
            n_steps=WIDEST_COUNT,
        )
        needed = required_nbytes(fullest) + ROOM_NBYTES
        if needed > self._config.manifest_nbytes:
            raise ConfigError(
                f"snapshot.manifest_nbytes: expected at least {needed} for this schema and "
                f"configuration; got {self._config.manifest_nbytes}"
            )

    def publish(
        self, about: About, learner: Learner, *, ledger: Mapping[str, Any], final: bool
    ) -> Path | None:
        """Writes a snapshot; returns its path, or None while no marginal map is fitted.

        Models whose map isn't fitted yet are in it without a density: its size is that of all. A
        snapshot that fails its gate is marked, and is the latest all the same: nobody but its
        reader knows whether it is still good enough.

        Args:
            about: what the run is.
            learner: what has been learned so far.
            ledger: the consumer's account, as `ConsumerLedger.document` gives it.
            final: whether the run has ended.

        Raises:
            SnapshotError: the disk refused; older snapshots are as they were.
        """
        if not learner.is_fitted:
            return None
        verdict = learner.judged()
        manifest = dataclasses.replace(
            self._manifest(about, learner, ledger=ledger, final=final),
            gate={} if verdict is None else verdict.document(),
        )
        path = write_snapshot(
            self._folder,
            Snapshot(manifest, {name: _learned(model) for name, model in learner.models.items()}),
            manifest_nbytes=self._config.manifest_nbytes,
            keep=self._config.keep,
            signer=self._signer,
        )
        newest = learner.history.newest()
        nll = None if newest is None else round(newest.nll, 4)
        logger.info(
            "snapshot",
            extra={"snapshot": path.name, "n_trained": learner.n_trained, "nll": nll},
        )
        if verdict is not None and not verdict.passed:
            logger.warning(
                "snapshot failed its gate", extra={"snapshot": path.name, **verdict.document()}
            )
        return path

    def _manifest(
        self, about: About, learner: Learner, *, ledger: Mapping[str, Any], final: bool
    ) -> Manifest:
        return Manifest(
            run_name=about.run_name,
            run=int(about.stream["run"]),
            created_utc=self._now().isoformat(timespec="seconds"),
            code_version=onlineflows.__version__,
            schema=learner.schema.to_dict(),
            models=tuple(_entry(model) for model in learner.models.values()),
            n_seen=learner.n_seen,
            n_trained=learner.n_trained,
            n_uses=learner.n_uses,
            n_steps=learner.n_steps,
            train_seconds=round(learner.train_seconds, 3),
            final=final,
            tainted=learner.tainted,
            ledger={name: ledger[name] for name in LEDGER_COUNTS if name in ledger},
            history=learner.history.summary(),
            drift=learner.drift.summary(),
            stream=shortened(about.stream),
            config=shortened(about.config),
        )


def _learned(model: ModelLearner) -> LearnedModel:
    return LearnedModel(model.thetas(), model.map_arrays())


def _entry(model: ModelLearner) -> ModelEntry:
    """What a manifest says of a model."""
    return ModelEntry(
        name=model.model.name,
        inside=_ends(model.region.inside),
        outside=_ends(model.region.outside),
        replicas=model.model.replicas,
        bootstrap=model.model.bootstrap,
        flow=model.config.flow,
        knots=model.config.preprocess.knots,
        is_fitted=model.preprocessing is not None,
        n_taken=model.n_taken,
        n_trained=model.n_trained,
        n_uses=model.n_uses,
        n_steps=model.n_steps,
        share=model.model.share,
    )


def _fullest(entry: ModelEntry) -> ModelEntry:
    """The longest entry that a model can come to."""
    return dataclasses.replace(
        entry,
        is_fitted=False,
        n_taken=WIDEST_COUNT,
        n_trained=WIDEST_COUNT,
        n_uses=WIDEST_COUNT,
        n_steps=WIDEST_COUNT,
    )


def _ends(interval: tuple[float, float] | None) -> tuple[float | None, float | None] | None:
    """An interval as JSON has it: null for an infinite end."""
    if interval is None:
        return None
    low, high = interval
    return (low if math.isfinite(low) else None, high if math.isfinite(high) else None)


def shortened(document: Any) -> Any:
    """Returns a document of plain JSON types in which lists of names are cut after `LISTED`.

    Example:
        >>> shortened({"paths": [f"{i}.root" for i in range(300)]})["paths"][-2:]
        ['15.root', '... 284 more']
    """
    if isinstance(document, Mapping):
        return {key: shortened(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        listed = [shortened(value) for value in document]
        is_long = len(listed) > LISTED and all(isinstance(value, str) for value in listed)
        return [*listed[:LISTED], f"... {len(listed) - LISTED} more"] if is_long else listed
    return document
