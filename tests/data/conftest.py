"""Sets of images made on the spot; nothing is read from or written to the home."""

import pytest


@pytest.fixture(autouse=True)
def no_home(tmp_path, monkeypatch):
    """A home of the test's own, with the usual data folder and the cache of ids."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
