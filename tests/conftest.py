"""Fixtures shared by all tests."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Callable[[str], Path]:
    """Finds a real data file below the folder named by ONLINEFLOWS_TEST_DATA, or skips."""
    folder = os.environ.get("ONLINEFLOWS_TEST_DATA", "")

    def find(name: str) -> Path:
        if not folder:
            pytest.skip("needs real data: set ONLINEFLOWS_TEST_DATA to the folder that holds them")
        path = Path(folder) / name
        if not path.exists():
            pytest.skip(f"needs real data: {name} is not below ONLINEFLOWS_TEST_DATA")
        return path

    return find
