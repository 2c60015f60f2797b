"""Evidence that the coordinator showed two histories, kept until people have talked about it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from node import files
from protocols.audit.entries import instant
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError

ABOUT, RESOLVED, README = "about.json", "resolved.json", "README.txt"
MAX_OPEN = 64
Journal = Callable[[str, Mapping[str, object]], None]
_EXPLAINED = """\
The coordinator's log is the cooperative's common memory: entries are added, none is ever changed or
removed. This node keeps the newest state of the log that it has verified. What it was shown later
does not continue it:

    {sentence}

What lies here
{listing}
What to do
1. Leave this folder as it is, and copy it to a USB stick.
2. Call the other members that are named above, and two more. Let each run
       coop-node log compare FILE
   with a copy of the file kept.note of this folder.
3. Ask the operator. After a restore from an old backup the coordinator says so, and its log is
   shorter than yours; whoever hides something will ask you to delete this folder.
4. When you know what happened, the owner of this node writes it down and goes on:
       coop-node log forks --resolve {id}
   With --start-anew this node accepts the log as it is shown from then on.
Until then this node takes part in no run (clause 24).

What it proves: two signed checkpoints of one size with different roots prove to anybody that two
histories were signed. Two of different sizes prove it as long as the coordinator cannot show the
entries that lead from one to the other: anybody can ask for that proof, and nobody can forge it.
"""


@dataclass(frozen=True, slots=True)
class Fork:
    """One finding. ``id`` is the folder's name; ``members`` are those who hold the other head."""

    id: str
    at: str
    sentence: str
    members: tuple[str, ...]
    resolved: bool
    mark: str = ""  # what makes it another finding than an earlier one


class Forks:
    """The folder ``audit/forks``; one folder in it per finding."""

    def __init__(self, folder: Path, journal: Journal, clock: Callable[[], datetime]) -> None:
        self._folder, self._journal, self._clock = folder, journal, clock

    def list(self) -> tuple[Fork, ...]:
        """All findings, oldest first.

        Raises:
            InputError: one of them is damaged.
        """
        if not self._folder.is_dir():
            return ()
        found = sorted(one for one in self._folder.iterdir() if not one.name.startswith("."))
        return tuple(self._read(one) for one in found if one.is_dir())

    def open(self) -> tuple[Fork, ...]:
        """Findings that nobody has resolved."""
        return tuple(one for one in self.list() if not one.resolved)

    def sentence(self) -> str:
        """What the gate says about the oldest open finding; empty if there is none."""
        waiting = self.open()
        if not waiting:
            return ""
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        return (
            f"{waiting[0].sentence}{more} The evidence is in audit/forks/{waiting[0].id}; after "
            f"talking to the others: coop-node log forks --resolve {waiting[0].id}"
        )

    def record(
        self,
        sentence: str,
        evidence: Mapping[str, bytes],
        members: tuple[str, ...] = (),
        mark: str = "",
    ) -> Fork:
        """Keep the evidence, then write it to the journal; the same finding is kept once.

        Args:
            sentence: what was found, for people; one sentence.
            evidence: file name to content; the names are shown as they are.
            members: ids of other members that hold the other head.
            mark: of this finding; an open one with the same mark is the same. Empty: the sentence.
        """
        mark = mark or sentence
        same = [one for one in self.open() if one.mark == mark]
        if same or len(self.open()) >= MAX_OPEN:
            return same[0] if same else self.open()[0]
        at = instant(self._clock())
        short = hashlib.sha256(mark.encode()).hexdigest()[:8]
        name = f"{at.replace(':', '').split('.')[0]}Z-{short}"
        fork = Fork(name, at, sentence, members, False, mark)
        about = {"at": at, "mark": mark, "members": list(members), "sentence": sentence}
        listing = "".join(f"    {name}\n" for name in sorted(evidence))
        text = _EXPLAINED.format(sentence=sentence, listing=listing, id=fork.id)
        part = self._folder / f".{fork.id}.part"
        files.make_folder(self._folder)
        with files.disk(part):
            shutil.rmtree(part, ignore_errors=True)
            files.make_folder(part)
            for name, content in evidence.items():
                files.write(part / name, content)
            files.write(part / README, text.encode())
            files.write(part / ABOUT, json_bytes(about))
            part.replace(self._folder / fork.id)
            files.sync_folder(self._folder)
        facts: dict[str, object] = {"fork": fork.id, "note": _note(sentence)}
        self._journal("incident", facts | ({"members": members} if members else {}))
        return fork

    def resolve(self, name: str, role: str) -> Fork:
        """Close a finding after people have talked; journalled before it takes effect.

        Args:
            name: the folder's name, or how it begins.
            role: of the person who decides, for the journal.

        Raises:
            InputError: no such open finding, or several that begin so.
        """
        found = [one for one in self.open() if one.id.startswith(name)]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} open findings begin with {name!r}.",
                code=Code.NOT_FOUND,
                where="fork",
                fix="See them with: coop-node log forks",
            )
        fork = found[0]
        self._journal("approval", {"fork": fork.id, "role": role})
        done = {"at": instant(self._clock()), "role": role}
        files.write(self._folder / fork.id / RESOLVED, json_bytes(done))
        return fork

    def _read(self, folder: Path) -> Fork:
        where = str(folder / ABOUT)
        try:
            about: dict[str, Any] = parse_json(files.read(folder / ABOUT), where)
            at, sentence, mark = about["at"], about["sentence"], about["mark"]
            texts = all(isinstance(one, str) and one for one in (at, sentence, mark))
            if not texts or not isinstance(about["members"], list):
                raise TypeError
            members = tuple(map(str, about["members"]))
            resolved = (folder / RESOLVED).exists()
            if resolved:
                parse_json(files.read(folder / RESOLVED), where)
            return Fork(folder.name, at, sentence, members, resolved, mark)
        except (InputError, KeyError, TypeError) as error:
            raise InputError(
                "the evidence of a fork is damaged.",
                code=Code.TAMPERED,
                where=where,
                fix="Put the folder audit/forks back from your backup; until then no run starts.",
            ) from error


def _note(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:240]
