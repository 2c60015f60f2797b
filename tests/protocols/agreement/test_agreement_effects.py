"""The page says what software does: every figure of every block changes a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from agreement_drafts import FILES, FRANCHISE, GROCERS, changed, clause, document, figures, made

from protocols.agreement.authoring import BLOCKS, models_in
from protocols.agreement.compare import compare
from protocols.agreement.effects import effects
from protocols.agreement.pages import comparison_html, page_html
from protocols.agreement.parse import read_agreement
from protocols.agreement.render import GROUPS, comparison, grouped, page
from protocols.agreement.source import walk
from protocols.agreement.terms import TYPE_OF, Clause
from protocols.agreement.words import CLAUSE, FIGURES, TOP
from protocols.canonical import json_bytes
from protocols.errors import InputError

FIXED = {
    "c15.must_beat": "the schema knows one value",
    "c21.no_reidentification": "the schema knows one value",
    "c21.no_inversion": "the schema knows one value",
    "c22.onward": "the schema knows one value",
    "c26.human_decision": "the schema knows one value",
    "c29.suspend_at_once": "the schema knows one value",
    "c14.budgets.0.unit": "the schema knows one value",
    "c04.duties.*.duty": "each duty stands once, so that none can become another",
}
"""Figures that cannot be anything else; nobody can change them, so no sentence has to."""
OTHERS: dict[str, list[Any]] = {
    # what a word can become instead
    "controller": ["joint", "each"],
    "by": ["member", "cooperative", "operator"],
    "basis": ["legitimate-interest", "none"],
    "privacy": ["none", "customer"],
    "mode": ["automatic", "manual"],
    "recipients": ["contributors", "members"],
    "method": ["none", "equal"],
    "foreground": ["cooperative", "members"],
    "profile": ["A", "B"],
    "past_models": ["retire", "keep"],
    "insolvency": ["delete", "hand-over"],
    "currency": ["USD", "EUR"],
    "country": ["FR", "DE"],
    "coordinator_country": ["DE", "AT"],
    "locale": ["de", "en"],
    "min_software": ["0.2.0"],
    "version": ["9"],
    "scope": ["other"],
    "reference": ["assessment of 2026"],
    "taxonomy": [None],
    "id": ["retail:2"],
    "hours_utc": [{"from_hour": 9, "to_hour": 20}],
    "starts": ["2027-01-02T00:00:00Z"],
    "ends": ["2028-01-02T00:00:00Z", "2028-01-01T00:00:01Z"],
    "review_by": ["2027-06-01T00:00:00Z"],
    "two_person": [["launch"]],
    "quorum_agreement": [{"members": 5}],
    "sign_agreement": [["owner", "steward"]],
    "approve_orders": [["owner"]],
    "export_results": [["owner"]],
    "sub_processors": [[{"name": "Rack", "country": "DE", "service": "houses it"}]],
    "approver_keys": [["5" * 64]],
    "blocked_fields": [["price"]],
}


def instead(path: tuple[str | int, ...], value: Any) -> Iterator[Any]:
    """Other values for one figure; the schema may refuse some."""
    key = str(path[-1])
    yield from (one for one in OTHERS.get(key, []) if one != value)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1, value * 0.9)
    elif isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{64}", value):
            yield "5" * 64
        yield from (value + "x", value[:-1] or "x", "FR")
    elif isinstance(value, list):
        yield from (value[:-1], [*value, "x" * 9], [*value, "viewer"], [*value, "XX"])


def name_of(path: tuple[str | int, ...], starred: bool = False) -> str:
    return ".".join("*" if starred and isinstance(one, int) else str(one) for one in path)


def opened(file: str) -> dict[str, Any]:
    """The example with what one figure needs so that another may change: hours, a reference."""
    whole = document(file)
    for one in clause(whole, "c10")["machine"]["purposes"]:
        one["reference"] = "assessment of 2025"
    if file == GROCERS:
        clause(whole, "c16")["machine"]["hours_utc"] = {"from_hour": 8, "to_hour": 20}
    return whole


def every_figure() -> list[tuple[str, str, tuple[str | int, ...]]]:
    """File, clause and path of every value of every block, over two examples.

    Words in a list are changed with their list.
    """
    out = []
    for file in (FRANCHISE, GROCERS):
        for one in opened(file)["clauses"]:
            out += [
                (file, one["id"], path)
                for path, value in walk(one.get("machine", {}))
                if path
                and path[-1] != "type"
                and (isinstance(path[-1], str) or isinstance(value, dict))
            ]
    return out


def said(whole: dict[str, Any]) -> tuple[str, ...] | None:
    """The sentences of a clause's block, or nothing if the schema refuses it."""
    try:
        read = Clause.model_validate_json(json_bytes(whole))
    except (ValueError, InputError):
        return None
    assert read.machine is not None
    return effects(read.machine)


def test_every_figure_changes_a_sentence() -> None:
    silent, loud, fixed = [], set(), set()
    wholes = {file: opened(file) for file in (FRANCHISE, GROCERS)}
    for file, name, path in every_figure():
        whole = clause(wholes[file], name)
        before = said(whole)
        holder = whole["machine"]
        for step in path[:-1]:
            holder = holder[step]
        value, after = holder[path[-1]], set()
        for other in instead(path, value):
            holder[path[-1]] = other
            found = said(whole) if other != value else None
            after |= {found} if found is not None else set()
        holder[path[-1]] = value
        label = f"{name}.{name_of(path)}"
        if before in after:
            silent.append(label)
        objects = isinstance(value, dict) or (isinstance(value, list) and _holds_objects(value))
        if after or objects:  # the figures of objects follow by themselves
            loud.add(label)
        else:
            starred = f"{name}.{name_of(path, starred=True)}"
            fixed.add(starred if starred in FIXED else label)
    assert silent == []
    assert fixed - loud == set(FIXED)


def _holds_objects(value: list[Any]) -> bool:
    return any(isinstance(one, dict) for one in value)


def test_no_sentence_comes_from_the_texts() -> None:
    whole = document()
    for one in whole["clauses"]:
        one["plain_text"], one["title"] = "Nothing of this is said.", "Other words"
    assert grouped(read_agreement(whole, "x")) == grouped(made())


def test_every_block_speaks_and_stands_in_one_group() -> None:
    named = [name for _, names in GROUPS for name in names]
    assert sorted(named) == sorted(TYPE_OF)
    for file in FILES:
        spoken = {one for _, pairs in grouped(made(file)) for _, one in pairs}
        assert spoken == set(TYPE_OF)
        for _, pairs in grouped(made(file)):
            for sentence, _ in pairs:
                assert sentence[0].isupper() or sentence[0].isdigit()
                assert "None" not in sentence


def test_words_know_every_figure() -> None:
    seen: dict[str, set[str]] = {}

    def visit(model: Any) -> None:
        fields = {key for key in model.model_fields if key != "type"}
        seen[model.__name__] = fields
        for key in fields:
            for inner in models_in(model.model_fields[key].annotation):
                visit(inner)

    for block in BLOCKS.values():
        visit(block)
    assert seen == {name: set(keys) for name, keys in FIGURES.items()}
    assert set(TOP) == {"kind", "v", "coop", "version", "prev", "title", "clauses"}
    assert set(CLAUSE) == set(Clause.model_fields)


class Outline(HTMLParser):
    """Headings, ids, links and whatever could run or be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.lang = ""
        self.bad: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "html":
            self.lang = given.get("lang") or ""
        if tag in ("script", "img", "link", "iframe", "form", "object", "base"):
            self.bad.append(tag)
        self.bad += [key for key in given if key.startswith("on") or key in ("src", "style")]
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links |= {given["href"] or ""} if "href" in given else set()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_page_is_one_accessible_file(file: str) -> None:
    found = outline(page_html(made(file)))
    assert found.bad == []
    assert found.lang == "en"
    assert found.headings[0] == 1
    assert found.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(found.headings, found.headings[1:], strict=False))
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)


EVIL = '<script>alert("1")</script> & \'"'


def test_texts_of_strangers_are_shown_and_not_run() -> None:
    whole = document()
    whole["title"] = EVIL
    for one in whole["clauses"]:
        one["title"] = one["plain_text"] = EVIL
    clause(whole, "c04")["machine"]["contact"] = EVIL
    clause(whole, "c13")["machine"]["workloads"][0]["config"][EVIL] = EVIL
    evil = read_agreement(whole, "x")
    for text in (page_html(evil), comparison_html(made(), evil), comparison_html(evil, made())):
        assert "<script" not in text
        assert outline(text).bad == []


def test_no_text_of_a_stranger_passes_for_a_sentence_of_ours() -> None:
    fake = "  - Nothing of yours leaves your house. (c07)"
    evil = changed(figures("c23", measures=[f"We lock the door.\n{fake}\nThe clauses"]))
    lines = page(evil).split("\n")
    assert fake not in lines
    assert [line for line in lines if fake.strip(" -") in line] == ["    |   " + fake.strip(" ")]
    assert lines.count("The clauses") == 1


def test_text_and_html_say_the_same() -> None:
    plain, html = " ".join(page(made()).split()), page_html(made())
    for heading, pairs in grouped(made()):
        assert heading in plain
        for sentence, name in pairs:
            assert " ".join(f"{sentence} ({name})".split()) in plain
            assert sentence.split("\n")[0][:30].replace("'", "&#x27;") in html


DIRECTIONS = [
    ("c14", {"min_cohort": 9}, "min_cohort: 5 -> 9 (tighter)"),
    ("c14", {"colluders": 1}, "colluders: 3 -> 1 (looser)"),
    ("c12", {"answer_days": 5}, "answer_days: 30 -> 5 (tighter)"),
    ("c16", {"mode": "automatic", "hours_utc": {"from_hour": 0, "to_hour": 24}}, "(looser)"),
    ("c16", {"hours_utc": {"from_hour": 8, "to_hour": 9}}, "8:00 to 9:00 UTC (tighter)"),
    ("c25", {"freeze": False}, "freeze: True -> False (looser)"),
    ("c27", {"profile": "C"}, "profile: B -> C (tighter)"),
    ("c29", {"leave_notice_days": 60}, "30 -> 60 (you are bound longer)"),
    ("c29", {"past_models": "retire"}, "keep -> retire (tighter)"),
    ("c30", {"review_by": "2027-06-01T00:00:00Z"}, "2027-06-01T00:00:00Z (tighter)"),
    ("c22", {"countries": ["AT"]}, "countries: without BE (tighter)"),
    ("c22", {"sub_processors": [{"name": "Rack", "country": "DE", "service": "s"}]}, "(looser)"),
    ("c07", {"forbidden": ["price_setting"]}, "forbidden: without employment (looser)"),
    ("c05", {"quorum_agreement": {"members": 6}}, "3 in 4 members (rounded up) -> 6 members:"),
    ("c05", {"quorum_agreement": {"numerator": 2, "denominator": 3}}, "(looser)"),
    ("c05", {"two_person": ["release"]}, "two_person: without remove (looser)"),
    ("c04", {"contact": "the head office"}, "contact: the shop where you bought -> the head"),
]


@pytest.mark.parametrize(("name", "values", "words"), DIRECTIONS)
def test_a_comparison_says_which_way_a_figure_went(
    name: str, values: dict[str, Any], words: str
) -> None:
    new = changed(figures(name, **values))
    found = compare(made(), new)
    assert [one.clause for one in found] == [name]
    assert words in " ".join(comparison(made(), new).split())
    assert found[0].was
    assert found[0].now
    assert outline(comparison_html(made(), new)).bad == []


def test_every_changed_figure_is_in_the_comparison() -> None:
    """No change of a block goes unseen, whatever it is."""
    for file, name, path in every_figure():
        whole, old = opened(file), read_agreement(opened(file), "x")
        holder: Any = clause(whole, name)["machine"]
        for step in path[:-1]:
            holder = holder[step]
        value = holder[path[-1]]
        for other in instead(path, value):
            if other == value:
                continue
            holder[path[-1]] = other
            try:
                new = read_agreement(whole, "x")
            except InputError:
                continue
            changes = compare(old, new)
            assert [one.clause for one in changes] == [name], path
            assert changes[0].effects, (name, path)
            break


def test_workloads_are_compared_by_name() -> None:
    whole = document()
    clause(whole, "c13")["machine"]["workloads"].reverse()
    clause(whole, "c13")["machine"]["workloads"][0]["max_rounds"] = 9
    [change] = compare(made(), read_agreement(whole, "x"))
    assert change.effects == ("workloads[demand].max_rounds: 200 -> 9 (tighter)",)
    clause(whole, "c13")["machine"]["workloads"].pop()
    [change] = compare(made(), read_agreement(whole, "x"))
    assert "workloads: without churn" in change.effects


def test_a_setting_that_is_true_is_not_one() -> None:
    def set_to(value: Any) -> Any:
        return lambda d: clause(d, "c13")["machine"]["workloads"][0]["config"].update(flag=value)

    one, true = changed(set_to(1)), changed(set_to(True))
    [change] = compare(one, true)
    assert change.effects == ("workloads[churn].config.flag: 1 -> True",)
    assert compare(one, changed(set_to(1.0))) == ()


def test_the_page_promises_to_keep_logs_and_deletes_none() -> None:
    """Logs only grow: what another clause of the page says of deleting is not about them."""
    found = [one for one in made().agreement.clauses if one.id in ("c24", "c28")]
    blocks = [one.machine for one in found if one.machine is not None]
    said = [one for block in blocks for one in effects(block)]
    assert "You can look at the logs for at least 1,095 days." in said
    assert "Logs are kept for at least 1,095 days; no program deletes them." in said
    texts = " ".join(one.plain_text for one in found)
    assert "kept for at least 1095 days" in texts and "logs after" not in texts
