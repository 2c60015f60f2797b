"""Every data set is looked at, its score kept and compared; an import is followed by sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from node.data.findings import QualityReport
from node.data.stages import Basis
from node.policy import quality
from node.policy.consents import ConsentDesk
from node.policy.quality import Trend, after_import, survey, trend
from node.store.database import Database
from node.store.quality import QualityHistory, Scored
from shop_rows import (
    DAYS,
    FIRST,
    LAST,
    RowsVault,
    customer_row,
    import_note,
    sale,
    sound,
    stock_row,
)

NOW = datetime.combine(LAST, datetime.min.time(), UTC) + timedelta(hours=20)
SECRET = bytes(range(32))
PURPOSE = "train:churn"
FILE = "0" * 64


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database.open(tmp_path / "node.db", create=True)
    yield made
    made.close()


@dataclass
class Home:
    """What an import asks of the node."""

    rows: RowsVault
    now: datetime = NOW
    said: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def vault(self) -> RowsVault:
        return self.rows

    def clock(self) -> datetime:
        return self.now

    def journal(self, kind: str, facts: Mapping[str, Any]) -> None:
        self.said.append((kind, facts))


def past(database: Database, score: int, days: int, dataset: str = "sales") -> None:
    with database.write() as connection:
        QualityHistory(connection).add(
            Scored(NOW - timedelta(days=days), dataset, score, (), "a" * 64)
        )


def test_every_data_set_with_rows_is_looked_at_and_kept(database: Database) -> None:
    rows = RowsVault(sound(), [customer_row()], [stock_row(location="")])
    looks = survey(rows, database, None, NOW)
    assert [one.dataset for one in looks] == ["sales", "customers", "stock"]
    assert [one.report.score for one in looks] == [100, 90, 40]
    assert [one.history[-1].score for one in looks] == [100, 90, 40]
    assert looks[2].history[-1].findings[0]["rule"] == "impossible_values"
    assert [one.dataset for one in survey(rows, database, None, NOW, "stock")] == ["stock"]
    assert len(survey(rows, database, None, NOW)[0].history) == 1  # the same look of the same day
    assert [one.dataset for one in survey(RowsVault(), database, None, NOW)] == ["sales"]


def test_a_purpose_is_looked_at_once_a_run_could_read_for_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = ConsentDesk(database, SECRET, frozenset({PURPOSE}), lambda *_: None, lambda: NOW)
    assert quality.purposes(None) == ()
    assert quality.purposes(desk) == ()  # consent, and nobody has answered
    desk.set_basis(PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    assert quality.purposes(desk) == (PURPOSE,)
    monkeypatch.setattr(quality, "owner_report", lambda *_: (QualityReport(55, 9, ()), 3))
    looks = survey(RowsVault(sound(7)), database, desk, NOW)
    assert [(one.dataset, one.report.score) for one in looks[1:]] == [(PURPOSE, 55)]


@pytest.mark.parametrize(
    ("old", "word"), [(80, "better"), (98, "same"), (97, "better"), (100, "same")]
)
def test_the_trend_compares_with_a_month_ago(database: Database, old: int, word: str) -> None:
    past(database, 10, 400)
    past(database, old, 28)
    past(database, 1, 27)
    found = survey(RowsVault(sound()), database, None, NOW)[0].trend
    assert (found.word, found.before) == (word, old)
    assert f"({old} of 100)" in found.sentence()


def test_without_a_month_there_is_no_trend(database: Database) -> None:
    past(database, 10, 27)
    found = survey(RowsVault(sound()), database, None, NOW)[0].trend
    assert found == Trend("new") and "no score of an earlier month" in found.sentence()
    assert trend((), NOW) == Trend("new")
    worse = (
        Scored(NOW - timedelta(days=30), "sales", 90, (), ""),
        Scored(NOW, "sales", 50, (), ""),
    )
    assert trend(worse, NOW).sentence().startswith("Worse than on ")


def test_after_a_sound_import_there_is_a_score_and_nothing_departs(database: Database) -> None:
    home = Home(RowsVault(sound(), records=(import_note("a.csv", FIRST, LAST, 5 * DAYS),)))
    assert after_import(home, database, FILE) == ("Health of sales: 100 of 100.",)
    assert home.said == [
        ("quality", {"dataset": "sales", "score": 100, "findings": (), "departures": ()})
    ]


def test_after_an_import_that_lacks_a_till_it_is_said(database: Database) -> None:
    month = LAST - timedelta(days=27)
    past(database, 100, 40)
    rows = [
        row for row in sound() if row["business_date"] < month or row["category"] in ("tea", "rice")
    ]
    home = Home(RowsVault(rows, records=(import_note("a.csv", month, LAST, 56),)))
    said = after_import(home, database, FILE)
    assert "Worse than on" in said[0]
    assert any("hardly a sale in the last 2 weeks" in one for one in said)
    assert "This import departs from the weeks before it:" in said
    assert any("60% less. Check that the export holds all shops" in one for one in said)
    assert said[-1] == "If it is the season or a sale, nothing is wrong."
    assert home.said[0][1]["departures"] == ("level", "mix")


def test_an_import_of_stock_is_followed_by_the_health_of_stock(database: Database) -> None:
    record = import_note("s.csv", LAST, LAST, 1)
    rows = RowsVault(
        [sale(LAST, 1)], stock=[stock_row()], records=(replace(record, table="stock"),)
    )
    assert after_import(Home(rows), database, FILE) == ("Health of stock: 100 of 100.",)


def test_an_import_that_is_not_there_says_nothing(database: Database) -> None:
    home = Home(RowsVault(sound()))
    assert after_import(home, database, FILE) == () and home.said == []
