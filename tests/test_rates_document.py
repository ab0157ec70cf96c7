"""The lines in docs/rates.md draw the figure beside them."""

import re
from pathlib import Path

import matplotlib as mpl
import pytest

DOCUMENT = Path(__file__).parents[1] / "docs" / "rates.md"


def test_the_lines_that_draw_the_profiles_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [lines] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    exec(compile(lines, str(DOCUMENT), "exec"), {})
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
