"""The report in a real headless browser: as wide as its window, on a phone as on a screen.

Needs Chromium or Chrome on the path, and playwright.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = {
    "validate.folds": 2,
    "validate.draws": 2,
    "validate.test_background": 20_000,
    "validate.test_signal": 2000,
}


@pytest.fixture
def browser() -> Iterator["sync_api.Browser"]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"needs a browser: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
        launched = play.chromium.launch(executable_path=path, headless=True, args=flags)
        yield launched
        launched.close()


def test_the_report_is_as_wide_as_its_window(start, small, browser, tmp_path: Path) -> None:
    start("run", **small, **{"run.name": "mine", "source.n_events": 8000}).finish()
    run = tmp_path / "runs" / "mine"
    # Longer than other programs of these tests may take: ten figures are drawn three times each.
    assert start("validate", run, "-q", **SETTINGS).popen.wait(400) == 0
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.goto((run / "report" / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("table").count() > 2
        page.close()
