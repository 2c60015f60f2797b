"""People of this member and what their role lets them do at this program.

This separates duties between people who use ``coop-node``, and says in the journal which role
acted. It does not keep anybody out who can read the node's files: whoever may use the computer's
account that owns the folder can read the keys and write the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.store.database import Database
from node.store.people import People, Person
from protocols.agreement.roles import NODE_ROLES, Action, Role, may_under
from protocols.agreement.terms import DataRoles
from protocols.errors import Code, InputError, Refused

Journal = Callable[[str, Mapping[str, object]], None]
LOG2_N, COST_R, COST_P = 15, 8, 1  # 32 MiB and about 0.1 s a try
MIN_PASSPHRASE = 8
SLOW_S = 2.0  # a wrong passphrase takes this much longer
_NAME = re.compile(r"[^\W_][\w .'-]{0,39}")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a role, and the short id that stands for the person in the journal."""

    role: str
    id: str

    def facts(self) -> dict[str, object]:
        """For a journal entry."""
        return {"role": self.role, "by": self.id}


OS_USER = Actor(Role.OWNER.value, "os")  # whoever may use the computer's account


class PeopleDesk:
    """Who may do what here.

    Args:
        database: the node's.
        journal: appends one entry (kind, facts); roles and short ids, never names.
        clock: aware UTC now.
        pause: sleeps so many seconds; a wrong passphrase is answered slowly.
        entropy: for ids and salts.
        log2_n: scrypt's cost for new passphrases.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        clock: Callable[[], datetime],
        *,
        pause: Callable[[float], None],
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        log2_n: int = LOG2_N,
    ) -> None:
        self._database, self._journal, self._clock = database, journal, clock
        self._pause, self._entropy, self._log2_n = pause, entropy, log2_n

    def present(self) -> tuple[Person, ...]:
        """Everybody who is registered now, by name."""
        with self._database.read() as connection:
            return People(connection).present()

    def add(self, name: str, role: str, passphrase: str, by: Actor) -> Person:
        """Register somebody. The first one is an owner: from then on the program asks who acts.

        Raises:
            InputError: the name is taken or no name, no role of a node, a short passphrase, or
                the first person is not an owner.
        """
        _require_name(name)
        _require_role(role)
        if len(passphrase) < MIN_PASSPHRASE:
            raise InputError(
                f"the passphrase has {len(passphrase)} characters, {MIN_PASSPHRASE} are the least.",
                where="passphrase",
            )
        salt = self._entropy(16)
        person = Person(
            self._entropy(4).hex(),
            name,
            role,
            salt,
            _hashed(passphrase, salt, self._log2_n),
            self._log2_n,
            self._clock(),
        )
        with self._database.write() as connection:
            known = People(connection)
            if not known.present() and role != Role.OWNER:
                raise InputError(
                    "the first person has to be an owner, or nobody could change roles any more.",
                    where="role",
                    fix="coop-node people add NAME --role owner",
                )
            if known.named(name) is not None:
                raise InputError("this name is taken.", where=name, fix="Choose another name.")
            known.add(person)
            self._write(person, "added", role, by)
        return person

    def remove(self, name: str, by: Actor) -> Person:
        """Take everything away from somebody; the last owner stays.

        Raises:
            InputError: nobody goes by this name, or it is the last owner.
        """
        with self._database.write() as connection:
            known = People(connection)
            person = self._named(known, name)
            _require_another_owner(known.present(), person)
            known.remove(person.id, self._clock())
            self._write(person, "removed", person.role, by)
        return person

    def set_role(self, name: str, role: str, by: Actor) -> Person:
        """Give somebody another role; errors as ``remove``."""
        _require_role(role)
        with self._database.write() as connection:
            known = People(connection)
            person = self._named(known, name)
            if role != Role.OWNER:
                _require_another_owner(known.present(), person)
            known.set_role(person.id, role)
            self._write(person, "role", role, by)
        return person

    def reset(self) -> int:
        """Remove everybody, for the owner of the files who lost a passphrase; slow, journalled.

        Whoever can write the node's files could do as much by hand.
        """
        self._pause(SLOW_S)
        with self._database.write() as connection:
            known = People(connection)
            present = known.present()
            for one in present:
                known.remove(one.id, self._clock())
            self._journal("person", {"what": "reset", "removed": len(present), **OS_USER.facts()})
        return len(present)

    def identify(self, name: str, passphrase: Callable[[], str]) -> Actor:
        """Who acts, by name and passphrase; without a name, whoever uses the computer.

        Args:
            name: as registered, or empty.
            passphrase: asks for it; called only if somebody of this name might be there.

        Raises:
            InputError: people are registered and nobody is named, or name and passphrase do not
                fit. The second is slow and journalled; nobody is locked out.
        """
        present = self.present()
        if not present and not name:
            return OS_USER
        if not name:
            raise InputError(
                "people are registered on this node; say who you are.",
                code=Code.USAGE,
                where="--as",
                fix="For example: coop-node --as NAME orders. `coop-node people list` names them.",
            )
        found = next((one for one in present if one.name == name), None)
        given = passphrase()
        salt = found.salt if found is not None else bytes(16)
        cost = found.log2_n if found is not None else self._log2_n
        # worked out for strangers as well, so that the time does not tell who is registered
        hashed = _hashed(given, salt, cost)
        if found is not None and hmac.compare_digest(hashed, found.secret_hash):
            return Actor(found.role, found.id)
        whom = {"by": found.id} if found is not None else {}
        self._journal("person", {"what": "wrong-passphrase", **whom})
        self._pause(SLOW_S)
        raise InputError(
            "name and passphrase do not fit.", code=Code.UNAUTHENTICATED, where="--as", fix=_AGAIN
        )

    def _named(self, people: People, name: str) -> Person:
        found = people.named(name)
        if found is None:
            raise InputError(
                "nobody goes by this name here.",
                code=Code.NOT_FOUND,
                where=name[:40],
                fix="`coop-node people list` names everybody.",
            )
        return found

    def _write(self, person: Person, what: str, role: str, by: Actor) -> None:
        facts = {"what": what, "person": person.id, "new_role": role}
        self._journal("person", {**facts, **by.facts()})


_AGAIN = (
    "Try again; upper and lower case count. If it is lost, an owner removes you and adds you "
    "again; if nobody is left who could: coop-node people reset."
)


def require_may(actor: Actor, action: Action, clause: DataRoles | None) -> None:
    """Refuse what the role may not do here, by default or because clause 6 says less.

    Args:
        actor: who acts.
        action: what they want to do.
        clause: of the agreement that this member signed, or None before that.

    Raises:
        Refused: names the clause, the role found and the roles allowed.
    """
    if may_under(actor.role, action, clause):
        return
    allowed = [one.value for one in NODE_ROLES if may_under(one.value, action, clause)]
    tightened = may_under(actor.role, action, None)
    raise Refused(
        f"{actor.role} may not {_WORDS.get(action, str(action))} here; allowed: "
        f"{', '.join(allowed) or 'nobody'}.",
        clauses=("c06",) if tightened else (),
        where="c06" if tightened else "role",
        fix="Ask somebody with that role, or let an owner register one: coop-node people add NAME "
        "--role ROLE.",
    )


_WORDS: Mapping[Action, str] = {
    Action.SEE: "look at orders",
    Action.USE: "use a released result",
    Action.EXPORT: "take results out of the node",
    Action.SIGN: "sign for this member",
    Action.APPROVE: "approve or refuse orders",
    Action.HOUSE: "change the house rules",
    Action.DATA: "import data",
    Action.CONSENT: "enter consents, legal bases and notices",
    Action.ANSWER: "answer requests of customers",
    Action.MEMBERSHIP: "join, suspend or leave",
    Action.KEYS: "back up, restore or renew keys",
    Action.PEOPLE: "change people and roles",
}


def _hashed(passphrase: str, salt: bytes, log2_n: int) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=1 << log2_n, r=COST_R, p=COST_P)
    return kdf.derive(passphrase.encode())


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(
            "a name has 1 to 40 letters, digits, blanks or .'- and begins with a letter or digit.",
            where="name",
        )


def _require_role(role: str) -> None:
    if role not in set(NODE_ROLES):
        raise InputError(
            f"{role[:20]!r} is not a role on a node.",
            where="role",
            fix=f"One of: {', '.join(NODE_ROLES)}.",
        )


def _require_another_owner(present: tuple[Person, ...], person: Person) -> None:
    owners = [one for one in present if one.role == Role.OWNER]
    if owners == [person]:
        raise InputError(
            "this is the last owner; nobody could change roles any more.",
            where=person.name,
            fix="Register another owner first: coop-node people add NAME --role owner",
        )
