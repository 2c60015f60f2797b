"""Scores over time: appended once a state and day, read back as they were, old ones go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.store import quality as room
from node.store.database import Database
from node.store.quality import QualityHistory, Scored

NOW = datetime(2025, 3, 1, 9, tzinfo=UTC)
FOUND = ({"rule": "stale_data", "count": 20},)


def scored(score: int = 80, days: int = 0, data: str = "a" * 64, dataset: str = "sales") -> Scored:
    return Scored(NOW + timedelta(days=days), dataset, score, FOUND, data)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.open(tmp_path / "node.db", create=True)
    yield made
    made.close()


def test_rows_come_back_as_they_were_oldest_first(database: Database) -> None:
    with database.write() as connection:
        history = QualityHistory(connection)
        for one in (scored(), scored(70, 1), scored(90, dataset="stock")):
            assert history.add(one)
    with database.read() as connection:
        history = QualityHistory(connection)
        assert history.list("sales") == (scored(), scored(70, 1))
        assert [one.dataset for one in history.list()] == ["sales", "sales", "stock"]
        assert history.last("sales") == scored(70, 1)
        assert history.last("customers") is None


def test_the_same_look_on_the_same_day_is_kept_once(database: Database) -> None:
    with database.write() as connection:
        history = QualityHistory(connection)
        assert history.add(scored())
        assert not history.add(scored())
        assert history.add(scored(data="b" * 64))
        assert history.add(scored(data="b" * 64, days=1))
        assert len(history.list()) == 3


def test_what_is_older_than_three_years_goes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as connection:
        history = QualityHistory(connection)
        history.add(scored())
        history.add(scored(70, room.KEPT_DAYS + 1))
        assert [one.score for one in history.list()] == [70]
        monkeypatch.setattr(room, "KEPT_ROWS", 2)
        for score in (1, 2, 3):
            history.add(scored(score, room.KEPT_DAYS + 1))
        assert [one.score for one in history.list()] == [2, 3]
