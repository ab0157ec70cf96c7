from pathlib import Path

from onlineflows.live.places import places_of
from streams.console import Place


def test_lanes_come_in_the_order_of_their_numbers_and_a_copy_is_none(tmp_path: Path) -> None:
    for lane in ("10", "2", "backup"):
        (tmp_path / f"lane-{lane}").mkdir()
    places = places_of(tmp_path)
    assert list(places) == ["replay", "train", "train lane-2", "train lane-10"]
    assert places["train lane-2"] == Place.of(tmp_path / "lane-2", "train")
