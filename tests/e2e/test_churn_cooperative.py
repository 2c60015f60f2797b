"""Real processes and customers: consent, plan, noised run, release with its epsilon, the list."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from churn_customers import TRAIN_UNTIL, lines
from live_coop import COORDINATOR, NODE, Cooperative, ask, cooperative, run
from protocols.workloads import churn

SHOPS, ROUNDS, CUSTOMERS = 6, 6, 45
REFUSED = 3  # exit code
EPSILON, DELTA = 8.0, 1e-4  # all that an agreement may spend: six small shops need little noise
AGREED = {
    "snapshots": 1,
    "customer_clip": 1.0,
    "noise_multiplier": 4.0,
    "evaluation_noise_multiplier": 0.65,
    "delta": DELTA,
    "server": {"name": "fedavg", "lr": 3.0},
}
CHOSEN = {"train_until": TRAIN_UNTIL.isoformat(), "expected_customers": 160}
pytestmark = pytest.mark.e2e


def card_number(shop: int, customer: int) -> str:
    return f"{shop}-{customer:03d}"


def write_export(folder: Path, shop: int) -> Path:
    path = folder / f"shop-{shop}.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["Date", "Category", "Quantity", "Total", "Loyalty card id"])
        for key, day, net, category in lines(CUSTOMERS, seed=100 + shop).itertuples(index=False):
            number = card_number(shop, int(key, 16))
            writer.writerow([day.date(), category, 1, f"{net:.2f}", number])
    return path


def write_answers(folder: Path, shop: int) -> Path:
    """Everybody said yes, customer 0 took it back."""
    path = folder / f"answers-{shop}.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["customer", "scope", "state", "at", "source"])
        for number in range(CUSTOMERS):
            writer.writerow(
                [card_number(shop, number), churn.PURPOSE, "granted", "2024-01-02", "t"]
            )
        writer.writerow([card_number(shop, 0), churn.PURPOSE, "withdrawn", "2024-02-01", "t"])
    return path


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cooperative]:
    root = tmp_path_factory.mktemp("coop")
    with cooperative(root) as made:
        settings = root / "agreed.json"
        settings.write_text(json.dumps(AGREED))
        agreed = ("--workload", "churn", "--settings", str(settings))
        made.found(
            SHOPS,
            files=[write_export(root, shop) for shop in range(SHOPS)],
            agreed=(*agreed, "--set", f"epsilon={EPSILON}", "--set", f"delta={DELTA}"),
        )
        for number, shop in enumerate(made.shops):
            run(NODE, shop.home, "notice", "adopt", "en", "--yes")
            run(NODE, shop.home, "consent", "import", str(write_answers(root, number)), "--yes")
        made.start_shops()
        yield made


def planned(coop: Cooperative, expect: int = 0) -> dict[str, Any]:
    settings = coop.root / "chosen.json"
    settings.write_text(json.dumps(CHOSEN))
    words = ("run", "plan", "--rounds", str(ROUNDS), "--settings", str(settings))
    found: dict[str, Any] = ask(COORDINATOR, coop.office_home, *words, expect=expect)
    return found


@pytest.fixture(scope="module")
def plan(coop: Cooperative) -> dict[str, Any]:
    return planned(coop)


@pytest.fixture(scope="module")
def released(coop: Cooperative, plan: dict[str, Any]) -> dict[str, Any]:
    """The card of a run that every shop took part in."""
    assert plan["refused"] == []
    name = coop.launch(ROUNDS, chosen=CHOSEN)
    end = coop.end_of(name)
    assert end["state"] == "released", end
    assert coop.rounds_of(name) == [SHOPS] * (ROUNDS + 1)
    shop = coop.shops[0]
    shop.wait(lambda e: e["event"] == "document" and e["kind"] == "release")
    shown = run(COORDINATOR, coop.office_home, "release", "show", end["detail"][:16]).stdout
    card: dict[str, Any] = json.loads(shown)["card"]
    assert card["model"] == end["detail"]
    return card


def test_the_card_promises_what_the_plan_said(
    plan: dict[str, Any], released: dict[str, Any]
) -> None:
    told = released["privacy"]
    assert told == plan["privacy"]
    assert told["claim"] == "customer" and told["sums"]["train"]["steps"] == ROUNDS
    assert 0 < told["epsilon"]["coordinator"] < told["epsilon"]["colluders"] < EPSILON
    assert released["metrics"]["brier_blend"] < released["metrics"]["brier_own"]


def test_a_shop_pulls_the_model_and_sees_who_may_leave(
    coop: Cooperative, released: dict[str, Any]
) -> None:
    home = coop.shops[0].home
    pulled = ask(NODE, home, "models", "pull")
    assert pulled["model"] == released["model"]
    assert any(line.startswith("privacy:") for line in pulled["checks"])
    names = coop.root / "numbers.txt"
    names.write_text("\n".join(card_number(0, number) for number in range(CUSTOMERS)))
    found = ask(NODE, home, "customers", "--top", "40", "--names", str(names))
    assert found["model"] == released["model"] and len(found["customers"]) > 10
    assert card_number(0, 0) not in {one["customer"] for one in found["customers"]}
    assert all(len(one["reasons"]) == 3 for one in found["customers"])
    listed = ask(NODE, home, "models", "list")["models"]
    assert listed[0]["privacy"] == released["privacy"]
    assert listed[0]["own_scores"]["measure"] == "Brier score"


def test_the_budget_is_spent_and_the_next_run_refused(
    coop: Cooperative, released: dict[str, Any]
) -> None:
    (account,) = ask(NODE, coop.shops[1].home, "budget")["budgets"]
    promised = released["privacy"]["epsilon"]["colluders"]
    assert account["unit"] == "customer" and account["epsilon"] == EPSILON
    assert 0 <= promised - account["spent"] < 1e-3  # the card rounds up
    again = planned(coop, expect=REFUSED)
    assert again["refused"] and all(reason.startswith("c14") for reason in again["refused"])


def test_no_file_of_the_office_names_a_customer(
    coop: Cooperative, released: dict[str, Any]
) -> None:
    numbers = [card_number(shop, at).encode() for shop in range(SHOPS) for at in range(10, 14)]
    for file in coop.office_home.rglob("*"):
        if file.is_file():
            raw = file.read_bytes()
            assert not any(number in raw for number in numbers), file
