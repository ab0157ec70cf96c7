"""Parts of a validation, computed here or elsewhere."""

from pathlib import Path

import pytest

from onlineflows.cli.parts import compute
from onlineflows.offline.material import Material
from onlineflows.offline.parts import PartStore
from onlineflows.offline.plan import Wanted, plan
from onlineflows.online.snapshot import find_snapshot, read_snapshot
from onlineflows.settings import ValidateConfig


@pytest.mark.slow
def test_other_processes_know_how_many_events_the_samples_stand_for(
    finished_run: Path, tmp_path: Path
) -> None:
    path, settings = find_snapshot(finished_run), ValidateConfig(folds=2)
    density = read_snapshot(path).density()
    data, samples, fresh = (density.sample(4000, seed=seed) for seed in range(3))
    material = Material(
        density.schema, data, samples, fresh, None, snapshot_nbytes=1000, n_learned=1000
    )
    parts = plan(Wanted(), material, settings)
    hunts = [
        compute(
            parts,
            material,
            settings,
            PartStore(tmp_path / str(jobs)),
            snapshot=path,
            jobs=jobs,
            progress=lambda _, __: None,
        )["cwola_snapshot"]["hunts"]["samples"]
        for jobs in (1, 2)
    ]
    assert hunts[0][0]["scale"] == 1.25
    assert hunts[0] == hunts[1]
