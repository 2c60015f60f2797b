"""Customers' lines: only of those who stand, only what the permit names, named by one root."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.data.consent import consented_lines, lines_to_score
from node.data.intake import add, preview
from node.data.stages import (
    CUSTOMER_COLUMNS,
    CUSTOMER_LINE_COLUMNS,
    Basis,
    ConsentedLines,
    Standing,
)
from node.data.values import customer_key
from node.data.vault import Vault
from protocols.audit.consent import leaf, tree_hash
from protocols.audit.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from protocols.errors import Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import churn

SECRET = bytes(range(32))
NOW = datetime(2017, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = ("ann", "bob", "cem", "dee", "eve")
PERMIT = Permit(
    gate=Gate.ADMIT,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose="train:churn",
    workload_digest="c" * 64,
    columns=CUSTOMER_LINE_COLUMNS,
    not_after=NOW + timedelta(hours=1),
)


def key(name: str) -> str:
    found = customer_key(SECRET, name)
    assert found is not None
    return found


KEYS = {key(name): name for name in NAMES}


def standing(*names: str, basis: Basis = Basis.CONSENT, at: datetime = NOW) -> Standing:
    reference = "" if basis is Basis.CONSENT else "LIA-1"
    ordered = sorted(leaf("train:churn", key(name)) for name in names)
    return Standing.of("train:churn", basis, reference, at, 7, ordered)


def sales(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    """A till's CSV from (day, receipt, customer) tuples; two lines a receipt."""
    lines = ["date,receipt,category,qty,total,customer"]
    for day, receipt, customer in rows:
        lines += [f"{day},{receipt},A,1,2.50,{customer}", f"{day},{receipt},,2,-1.00,{customer}"]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def filled(root: Path, rows: list[tuple[str, str, str]]) -> Vault:
    vault = Vault(root / "vault", bytes(32))
    add(vault, preview(sales(root / "sales.csv", rows)), SECRET, NOW)
    return vault


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    rows = [
        (f"2017-0{1 + k % 5}-{1 + k % 28:02d}", f"r{k}", (*NAMES, "")[k % 6]) for k in range(60)
    ]
    return filled(tmp_path_factory.mktemp("shop"), rows)


def names_in(found: ConsentedLines) -> set[str]:
    return {KEYS[one] for one in found.lines["customer_key"].astype(str)}


def test_nobody_stands_by_default(shop: Vault) -> None:
    found = consented_lines(shop, PERMIT, NOW, standing())
    assert found.customers == 0 and not len(found.lines)
    assert found.snapshot_root == EMPTY_ROOT.hex()
    assert found.left_out.not_standing == 100 and found.left_out.without_customer == 20


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(named=st.sets(st.sampled_from(NAMES)), basis=st.sampled_from(Basis), cut=st.integers(1, 5))
def test_no_line_of_anybody_else(shop: Vault, named: set[str], basis: Basis, cut: int) -> None:
    who = standing(*named, basis=basis)
    since, until = date(2017, cut, 1), date(2017, cut, 20)
    found = consented_lines(shop, PERMIT, NOW, who, since=since, until=until)
    expected = named if basis is Basis.CONSENT else set(NAMES) - named
    assert names_in(found) <= expected
    days = found.lines["business_date"]
    assert days.between(pd.Timestamp(since), pd.Timestamp(until)).all()
    truth = dict(
        shop.query(
            "SELECT customer_key, count(*) FROM sales_line WHERE business_date BETWEEN "
            f"'{since}' AND '{until}' AND customer_key IS NOT NULL GROUP BY 1"
        )
    )
    kept = {one: count for one, count in truth.items() if KEYS[one] in expected}
    assert found.lines.groupby("customer_key", observed=True).size().to_dict() == kept
    out = found.left_out
    assert len(found.lines) + out.without_customer + out.not_standing == out.lines


def test_the_frame_is_typed_and_sorted(shop: Vault) -> None:
    lines = consented_lines(shop, PERMIT, NOW, standing(*NAMES)).lines
    assert tuple(lines.columns) == CUSTOMER_LINE_COLUMNS
    assert [str(kind) for kind in lines.dtypes] == [
        "category",
        "datetime64[s]",
        "category",
        "float64",
        "float64",
        "category",
    ]
    keys = lines["customer_key"].cat.categories.to_list()
    assert keys == sorted(KEYS)
    order = lines[["customer_key", "business_date"]]
    assert order.equals(order.sort_values(["customer_key", "business_date"], kind="stable"))
    assert lines["category_code"].isna().sum() == 50 and set(lines["net"]) == {2.5, -1.0}
    assert "ann" not in repr(standing("ann")) and key("ann") not in repr(standing("ann"))


def test_only_the_columns_of_the_permit_are_read(shop: Vault) -> None:
    narrow = replace(PERMIT, columns=("customer_key", "business_date", "net"))
    found = consented_lines(shop, narrow, NOW, standing("ann"))
    assert tuple(found.lines.columns) == ("customer_key", "business_date", "net")
    wide = consented_lines(shop, PERMIT, NOW, standing("ann"))
    assert found.snapshot_root == wide.snapshot_root
    assert found.lines["net"].sum() == wide.lines["net"].sum()


def test_a_pulled_model_looks_at_the_same_customers_under_the_use_gate(shop: Vault) -> None:
    use = replace(PERMIT, gate=Gate.USE, columns=())
    found = lines_to_score(shop, use, NOW, standing("ann"), churn.COLUMNS, since=date(2017, 3, 1))
    assert names_in(found) == {"ann"} and set(found.lines.columns) == set(churn.COLUMNS)
    assert found.lines["business_date"].min() >= pd.Timestamp("2017-03-01")
    narrow = lines_to_score(shop, use, NOW, standing("ann"), ("net",))
    assert tuple(narrow.lines.columns) == ("customer_key", "business_date", "net")
    for permit in (PERMIT, replace(use, purpose="train:demand"), replace(use, not_after=NOW - DAY)):
        with pytest.raises(Refused):
            lines_to_score(shop, permit, NOW, standing("ann"), churn.COLUMNS)
    with pytest.raises(Refused):
        consented_lines(shop, use, NOW, standing("ann"))


def test_the_churn_workload_asks_for_columns_that_can_be_read() -> None:
    assert set(churn.COLUMNS) <= set(CUSTOMER_LINE_COLUMNS)
    assert set(churn.COLUMNS) >= {*CUSTOMER_COLUMNS, "business_date"}


def test_no_permit_no_lines(shop: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(vault: Vault) -> object:
        raise AssertionError("a row was read")

    monkeypatch.setattr(Vault, "reader", never)
    who = standing(*NAMES)
    for change in (
        {"gate": Gate.USE},
        {"columns": ("business_date", "net")},
        {"columns": ("customer_key", "net")},
        {"not_after": NOW - timedelta(1)},
        {"purpose": "train:demand"},
    ):
        with pytest.raises(Refused):
            consented_lines(shop, replace(PERMIT, **change), NOW, who)
    with pytest.raises(Refused, match="Begin the run again"):
        consented_lines(shop, PERMIT, NOW, replace(who, at=NOW - timedelta(microseconds=1)))
    bare = replace(standing(basis=Basis.LEGITIMATE_INTEREST), assessment="")
    with pytest.raises(Refused, match="assessment"):
        consented_lines(shop, PERMIT, NOW, bare)


# --- the root ----------------------------------------------------------------------------------


def root(vault: Vault, *names: str) -> str:
    return consented_lines(vault, PERMIT, NOW, standing(*names)).snapshot_root


@pytest.mark.parametrize("size", [*range(20), 255, 256, 257])
def test_the_tree_hash_is_that_of_the_audit_log(size: int) -> None:
    leaves = [leaf_hash(bytes([k % 256])) for k in range(size)]
    whole = CompactRange()
    for one in leaves:
        whole = whole.append(one)
    assert tree_hash(leaves) == whole.root()


def test_the_root_names_exactly_these_lines(tmp_path: Path) -> None:
    rows = [(f"2017-01-{k + 1:02d}", f"r{k}", NAMES[k % 3]) for k in range(12)]
    first = filled(tmp_path, rows)
    seen = {root(first, *names) for names in (NAMES[:1], NAMES[:2], NAMES[:3], NAMES[1:3])}
    assert len(seen) == 4
    # who has no lines, under which basis and when it is read: the same lines
    before = root(first, *NAMES[:2])
    assert root(first, *NAMES[:2], "eve") == before
    others = standing("cem", basis=Basis.LEGITIMATE_INTEREST)
    assert consented_lines(first, PERMIT, NOW, others).snapshot_root == before
    # another customer's line changes nothing, the own ones do, the same file again does not
    later = sales(tmp_path / "later.csv", [("2017-02-01", "x1", "cem")])
    add(first, preview(later), SECRET, NOW)
    assert root(first, *NAMES[:2]) == before
    later = sales(tmp_path / "own.csv", [("2017-02-01", "x2", "ann")])
    add(first, preview(later), SECRET, NOW)
    after = root(first, *NAMES[:2])
    assert after != before
    add(first, preview(later), SECRET, NOW)
    assert root(first, *NAMES[:2]) == after
    # a month is another snapshot than the year
    january = consented_lines(
        first, PERMIT, NOW, standing(*NAMES[:2]), until=date(2017, 1, 31)
    ).snapshot_root
    assert january == before


def test_the_order_of_imports_does_not_matter(tmp_path: Path) -> None:
    rows = [(f"2017-01-{k + 1:02d}", f"r{k}", NAMES[k % 3]) for k in range(12)]
    one = filled(tmp_path, rows)
    two = Vault(tmp_path / "other", bytes(32))
    for name, part in (("b", rows[6:]), ("a", rows[:8])):
        add(two, preview(sales(tmp_path / f"{name}.csv", part)), SECRET, NOW)
    assert root(one, *NAMES) == root(two, *NAMES)


def test_the_root_by_hand(tmp_path: Path) -> None:
    vault = filled(tmp_path, [("2017-01-01", "r1", "ann")])
    held = vault.query("SELECT line_hash, copy FROM sales_line ORDER BY line_hash, copy")
    lines = b"".join(bytes(line) + copy.to_bytes(4, "little") for line, copy in held)

    def fields(*parts: bytes) -> bytes:
        return b"".join(len(one).to_bytes(8, "little") + one for one in parts)

    who = fields(b"datacoop/consent-leaf/v1", b"train:churn", bytes.fromhex(key("ann")))
    which = fields(
        b"datacoop/consented-lines/v1", (2).to_bytes(8, "little"), hashlib.sha256(lines).digest()
    )
    leaves = hashlib.sha256(b"\0" + who).digest(), hashlib.sha256(which).digest()
    tree = b"\0" + fields(b"datacoop/consented-customer/v1", *leaves)
    assert root(vault, "ann") == hashlib.sha256(tree).hexdigest()


def test_lines_from_the_future_stay_out(tmp_path: Path) -> None:
    tomorrow, after = NOW.date() + timedelta(1), NOW.date() + timedelta(2)
    vault = filled(
        tmp_path, [(str(day), f"r{day}", "ann") for day in (NOW.date(), tomorrow, after)]
    )
    found = consented_lines(vault, PERMIT, NOW, standing("ann"))
    assert found.lines["business_date"].max() == pd.Timestamp(tomorrow)
    assert found.left_out.in_future == 2 and found.left_out.lines == 4


def test_an_import_in_between_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = filled(tmp_path, [("2017-01-01", "r1", "ann")])
    real, calls = Vault.data_digest, list[int]()

    def slow(self: Vault) -> str:
        out = real(self)
        if not calls:
            later = sales(tmp_path / "b.csv", [("2017-01-02", "r2", "ann")])
            add(vault, preview(later), SECRET, NOW)
        calls.append(1)
        return out

    monkeypatch.setattr(Vault, "data_digest", slow)
    assert len(consented_lines(vault, PERMIT, NOW, standing("ann")).lines) == 4
    assert len(calls) == 4


def test_an_empty_vault(vault: Vault) -> None:
    found = consented_lines(vault, PERMIT, NOW, standing("ann"))
    assert found.customers == 0 and tuple(found.lines.columns) == CUSTOMER_LINE_COLUMNS
    assert found.snapshot_root == EMPTY_ROOT.hex()


def test_amounts_are_whole_numbers_of_cents(shop: Vault) -> None:
    net = consented_lines(shop, PERMIT, NOW, standing(*NAMES)).lines["net"].to_numpy()
    assert np.array_equal(net, np.round(net, 2))


def test_the_values_of_a_stage_load_nothing_heavy() -> None:
    code = (
        "import sys, node.house, node.policy.consents\n"
        "print({'pandas', 'pyarrow', 'duckdb', 'torch', 'alembic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
