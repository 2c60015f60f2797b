"""What a node keeps of the coordinator's log: order of effects, torn files, one root a size."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from memory_place import Memory
from node import files
from node.policy.witnessed import MAX_COSIGNED, Kept, Witnessed
from protocols.audit.checkpoint import key_id, origin_of
from protocols.audit.cosign import COSIGNATURE, cosignature_of, cosigner_name, read_cosigned
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId
from protocols.signing import SigningKey, identity_of

OFFICE, MINE = SigningKey(b"\x05" * 32), SigningKey(b"\x21" * 32)
ORIGIN = origin_of("coordinator", OFFICE.public)
ME = identity_of(MINE.public)


def _line(public: bytes, rest: bytes) -> str:
    """What stands behind the name in a countersignature line; nobody has signed it."""
    return base64.b64encode(key_id(cosigner_name(public), public, COSIGNATURE) + rest).decode()


class World:
    """One node and one coordinator's log in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
        self.entries: list[tuple[str, Mapping[str, object]]] = []
        self.log = self.another()
        self.node = self.open()

    def open(self) -> Witnessed:
        return Witnessed(
            self.folder,
            MINE,
            OFFICE.public,
            lambda kind, facts: self.entries.append((kind, facts)),
            lambda: self.now,
        )

    def another(self) -> LogWriter:
        return LogWriter(Memory(), "coordinator", OFFICE, lambda: self.now)

    def grow(self, count: int, mark: str = "a", log: LogWriter | None = None) -> None:
        for number in range(count):
            (log or self.log).append(Kind.PULL, {"model": f"{mark}{number}"})

    def contact(self, log: LogWriter | None = None) -> Kept:
        before = self.node.newest()
        note, proof = (log or self.log).growth(before.head.size if before else 0)
        kept = self.node.advance(before, note, proof, "coordinator")
        assert kept is not None
        return kept


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "audit")
    made.grow(5)
    return made


def test_a_head_is_kept_then_signed_then_handed_over(world: World) -> None:
    assert world.node.newest() is None and world.node.facts().verified_at is None
    kept = world.contact()
    assert kept.head.size == 5 and kept.cosigned_at is None
    assert world.node.facts().verified_at == world.now and not world.node.facts().fork
    signed = world.node.countersign()
    assert signed is not None and signed.cosigned_at == int(world.now.timestamp())
    members = {MemberId(ME): MINE.public}
    found = read_cosigned(signed.note, OFFICE.public, ORIGIN, members, "note")
    assert found.head == kept.head and found.times == {ME: signed.cosigned_at}
    assert [kind for kind, _ in world.entries] == ["witness"]
    # until the coordinator has it, it is given again, the same bytes
    assert world.node.countersign() == signed
    world.node.submitted(signed)
    assert world.node.countersign() is None
    assert world.open().newest() == signed  # and after a restart


def test_an_unchanged_head_is_signed_again_after_an_hour(world: World) -> None:
    world.contact()
    first = world.node.countersign()
    assert first is not None and first.cosigned_at is not None
    world.node.submitted(first)
    world.now += timedelta(minutes=59)
    world.contact()
    assert world.node.countersign() is None
    world.now += timedelta(minutes=2)
    again = world.node.countersign()
    assert again is not None and again.cosigned_at == first.cosigned_at + 61 * 60
    assert again.note.count("— ".encode()) == 2  # the older line is gone
    assert [kind for kind, _ in world.entries] == ["witness"]


def test_a_clock_that_was_set_back_does_not_go_into_a_countersignature(world: World) -> None:
    world.contact()
    first = world.node.countersign()
    world.grow(1)
    world.now -= timedelta(days=40)
    world.contact()
    second = world.node.countersign()
    assert first is not None and second is not None
    assert second.cosigned_at == first.cosigned_at


@pytest.mark.parametrize("size", [4, 5, 9])
def test_another_history_is_refused_and_changes_nothing(world: World, size: int) -> None:
    world.contact()
    world.node.countersign()
    before = {one: one.read_bytes() for one in world.folder.rglob("*") if one.is_file()}
    other = world.another()
    world.grow(size, "b", other)
    with pytest.raises(RemoteError) as caught:
        world.contact(other)
    assert caught.value.code is Code.TAMPERED
    after = {one: one.read_bytes() for one in world.folder.rglob("*") if one.is_file()}
    assert before == after


def test_a_stale_view_is_not_written_over_a_newer_one(world: World) -> None:
    world.contact()
    before, (note, proof) = world.node.newest(), world.log.growth(5)
    world.grow(3)
    world.contact()
    assert world.node.advance(before, note, proof, "coordinator") is None
    newest = world.node.newest()
    assert newest is not None and newest.head.size == 8


class Killed(Exception):
    pass


@pytest.mark.parametrize("survives", range(6))
def test_killed_between_any_two_writes(
    world: World, survives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No order of deaths leaves two countersigned roots of one size, or a node that is stuck."""
    left = [survives]
    real = files.write

    def dying(path: Path, data: bytes, mode: int = 0o600) -> None:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        real(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", dying)
        try:
            world.contact()
            world.node.countersign()
        except Killed:
            pass
    world.node = world.open()
    other = world.another()
    world.grow(5, "b", other)
    if world.node.newest() is not None:
        with pytest.raises(RemoteError, match="forked"):
            world.contact(other)
    world.contact()
    signed = world.node.countersign()
    assert signed is not None
    roots = {
        kept.head.root
        for size in world.node.cosigned_sizes()
        if (kept := world.node.cosigned(size)) is not None
    }
    assert roots == {world.log.head().root}


def cuts(content: bytes) -> list[int]:
    """Each class of byte boundary: none, one, within and around every line, one short."""
    ends = [at + 1 for at, byte in enumerate(content) if byte == 0x0A]
    near = {0, 1, len(content) - 1, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends)}
    return sorted(one for one in near if one < len(content))


def test_a_torn_newest_is_refused_and_says_how_to_restore(world: World) -> None:
    world.contact()
    world.node.countersign()
    path = world.folder / "coordinator" / "newest.note"
    whole = path.read_bytes()
    mine = cosignature_of(whole, MINE.public, "x")
    assert mine is not None
    plain = len(whole) - len(mine[0])
    for length in cuts(whole):
        path.write_bytes(whole[:length])
        if length == plain:  # a whole note again, as it was before it was countersigned
            assert world.node.newest() is not None
            continue
        with pytest.raises(InputError, match="damaged") as caught:
            world.node.newest()
        assert "backup" in caught.value.fix and caught.value.code is Code.TAMPERED
        assert "damaged" in world.node.facts().fork and world.node.facts().verified_at is None
        with pytest.raises(InputError, match="damaged"):
            world.contact()
    path.unlink()
    with pytest.raises(InputError, match="gone"):
        world.node.newest()
    path.write_bytes(whole)
    world.contact()


def test_a_torn_status_costs_one_contact(world: World) -> None:
    world.contact()
    path = world.folder / "coordinator" / "status.json"
    whole = path.read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert world.node.facts().verified_at is None  # denies, is not a fork
        assert not world.node.facts().fork
    for bad in (b'{"size": 5}', b'{"verified_at": "2026-03-01", "size": 5}', b'{"other": 1}'):
        path.write_bytes(bad)
        assert world.node.facts().verified_at is None
    world.contact()
    assert world.node.facts().verified_at == world.now


def test_a_torn_history_is_not_believed(world: World) -> None:
    world.contact()
    world.node.countersign()
    path = world.folder / "coordinator" / "cosigned" / f"{5:016d}.note"
    whole = path.read_bytes()
    mine = cosignature_of(whole, MINE.public, "x")
    assert mine is not None
    plain = len(whole) - len(mine[0])
    for length in cuts(whole):
        path.write_bytes(whole[:length])
        if length != plain:  # there it is whole again, without our signature
            with pytest.raises(InputError):
                world.node.cosigned(5)
    path.write_bytes(whole)
    path.rename(path.with_name(f"{6:016d}.note"))
    with pytest.raises(InputError, match="another size"):
        world.node.cosigned(6)


def test_the_history_is_bounded(world: World) -> None:
    for _ in range(3):
        world.grow(1)
        world.contact()
        world.node.countersign()
    folder = world.folder / "coordinator" / "cosigned"
    for size in range(20, 20 + MAX_COSIGNED):
        (folder / f"{size:016d}.note").write_bytes(b"")
    # the bound holds whatever lies there; the oldest go first
    world.grow(1)
    world.contact()
    for size in range(20, 20 + MAX_COSIGNED):
        (folder / f"{size:016d}.note").write_bytes((folder / f"{8:016d}.note").read_bytes())
    with pytest.raises(InputError):  # the newest of them is not what its name says
        world.node.countersign()
    for size in range(20, 20 + MAX_COSIGNED):
        (folder / f"{size:016d}.note").unlink()
    assert world.node.countersign() is not None
    assert world.node.cosigned_sizes() == (6, 7, 8, 9)


def test_a_fork_denies_until_it_is_resolved(world: World) -> None:
    world.contact()
    world.node.countersign()
    fork = world.node.forks.record("two logs were shown.", {"kept.note": b"x"}, (ME,))
    assert world.node.forks.record("two logs were shown.", {"kept.note": b"y"}) == fork
    assert world.node.facts().fork.startswith("two logs were shown.")
    readme = (world.folder / "forks" / fork.id / "README.txt").read_text()
    assert "kept.note" in readme and fork.id in readme and "two logs were shown." in readme
    world.grow(1)
    world.contact()
    assert world.node.countersign() is None  # nothing is vouched for meanwhile
    with pytest.raises(InputError, match="0 open"):
        world.node.forks.resolve("nonsense", "owner")
    world.node.forks.resolve(fork.id[:8], "owner")
    assert not world.node.facts().fork and world.node.forks.list()[0].resolved
    assert world.node.countersign() is not None
    kinds = [kind for kind, _ in world.entries]
    assert kinds == ["witness", "incident", "approval", "witness"]


@pytest.mark.parametrize("name", ["about.json", "resolved.json"])
def test_torn_evidence_denies(world: World, name: str) -> None:
    fork = world.node.forks.record("two logs were shown.", {"kept.note": b"x"})
    if name == "resolved.json":
        world.node.forks.resolve(fork.id, "owner")
    path = world.folder / "forks" / fork.id / name
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "damaged" in world.node.facts().fork
    path.write_bytes(whole)
    assert "damaged" not in world.node.facts().fork


def test_starting_anew_never_signs_where_it_has_signed_before(world: World) -> None:
    world.contact()
    world.node.countersign()
    other = world.another()
    world.grow(4, "b", other)
    with pytest.raises(RemoteError):
        world.contact(other)
    world.node.start_anew()
    assert world.node.newest() is None
    for size in (4, 5):
        assert world.contact(other).head.size == size
        assert world.node.countersign() is None
        world.grow(1, f"c{size}", other)
    assert world.contact(other).head.size == 6
    assert world.node.countersign() is not None
    retired = next((world.folder / "coordinator").glob("retired-*"))
    assert (retired / "newest.note").exists() and (retired / "cosigned").is_dir()
    (world.folder / "coordinator" / "retired.json").write_bytes(b'{"cosigned":"x"}')
    with pytest.raises(InputError, match="damaged"):
        world.node.countersign()


@pytest.mark.parametrize(
    "more",
    [
        [f"— {cosigner_name(MINE.public)} {_line(MINE.public, bytes(72))}"],
        [f"— {cosigner_name(MINE.public)} {_line(MINE.public, bytes(3))}"],
        [f"— {'x' * 190}{number} {_line(MINE.public, bytes(72))}" for number in range(1000)],
    ],
    ids=["a forged line of ours", "a short line of ours", "lines of a thousand strangers"],
)
def test_lines_of_others_under_a_head_do_not_freeze_this_node(
    world: World, more: list[str]
) -> None:
    # the log's own signature is good, so the head counts; what hangs below it is not kept
    note, proof = world.log.growth(0)
    assert world.node.advance(None, note + "".join(f"{x}\n" for x in more).encode(), proof, "c")
    kept = world.node.newest()
    assert kept is not None and kept.note == note and not world.node.facts().fork
    assert world.node.countersign() is not None
    world.grow(2)
    assert world.contact().head.size == 7
