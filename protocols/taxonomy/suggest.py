"""Which category a shop's own name may mean (SPEC.md section 4). A suggestion, never a decision.

Pure and small: words, their stems and parts, spelling, and what the products are called. No model
and no network. How good it is stands in ``tests/vectors/taxonomy/`` and is measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from protocols.taxonomy.form import Taxonomy
from protocols.taxonomy.tokens import bare, distance, plain, split, squeezed, stem, tokens

MAX_EXAMPLES: Final = 30  # products that are looked at
SURE: Final = 0.75  # a name that scores less is believed less than what its products are called
NAMED: Final = 0.7  # of a name that is sure; its products say the rest
HINTED: Final = 0.4  # of any other
ALONE: Final = 0.85  # of what products say, where the name says nothing
NOTHING: Final = 0.35  # a name that scores less says nothing
SHARED: Final = 0.6  # a name that several categories have
EACH: Final = 0.95  # every word of a name is a name of one category
TOGETHER: Final = 0.8  # several categories of one group in one name
UNKNOWN_WEIGHT: Final = 2.0  # of a word that no category has
MIXED: Final = "mixed"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One category: its code, 0 to 1, and why in words."""

    code: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Phrase:
    """One name of one category, as stems, with the parts of its compounds."""

    code: str
    text: str
    stems: tuple[str, ...]
    parts: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one word of a name may stand for: stem -> how surely; how it was found."""

    stems: Mapping[str, float]
    how: str


@dataclass(frozen=True, slots=True)
class Suggester:
    """A taxonomy's words, looked up many times. Made by ``suggester``."""

    taxonomy: Taxonomy
    phrases: tuple[_Phrase, ...]
    exact: Mapping[str, tuple[str, ...]] = field(repr=False)  # folded name -> codes
    holds: Mapping[str, tuple[int, ...]] = field(repr=False)  # stem -> numbers of phrases
    weights: Mapping[str, float] = field(repr=False)
    words: Mapping[str, tuple[str, ...]] = field(repr=False)  # first letter -> whole words
    bared: Mapping[str, tuple[str, ...]] = field(repr=False)  # stem without umlauts -> stems
    seen: dict[str, _Seen] = field(repr=False, default_factory=dict)  # words looked up before

    def suggest(
        self, name: str, examples: Sequence[str] = (), most: int = 5
    ) -> tuple[Suggestion, ...]:
        """Categories for a shop's own name, best first; none if nothing speaks for any.

        Args:
            examples: names of products that are sold under it.
        """
        named = self._named(name)
        votes = self._votes(examples)
        surest = max((score for score, _ in named.values()), default=0.0)
        out: list[Suggestion] = []
        for code in named.keys() | votes.keys():
            score, why = named.get(code, (0.0, ""))
            vote, sold = votes.get(code, (0.0, 0))
            if votes and surest < NOTHING:
                score = ALONE * vote + (1 - ALONE) * score
            elif votes:
                share = NAMED if surest >= SURE else HINTED
                score = share * score + (1 - share) * vote
            if sold:
                told = f"{sold} of {min(len(examples), MAX_EXAMPLES)} products look like it"
                why = f"{why}; {told}" if why else told
            out.append(Suggestion(code, round(min(score, 1.0), 4), why))
        out.sort(key=lambda one: (-one.score, one.code))
        return tuple(one for one in out if one.score >= 0.1)[:most]

    def _named(self, name: str) -> dict[str, tuple[float, str]]:
        """Code of a leaf -> (score, reason), from the name alone."""
        roots = [stem(word) for word in tokens(name)]
        owners = self.exact.get(" ".join(roots), ())
        if len(owners) == 1:
            return {owners[0]: (1.0, "known by this name")}
        found = self._by_words(name)
        each = [self.exact.get(root, ()) for root in roots]
        if len(each) > 1 and len(set(each)) == 1 and len(each[0]) == 1:
            found[each[0][0]] = (EACH, "known by each of these words")
        if owners:  # nothing else may outdo those that are known by the very name
            found = {code: (min(one[0], SHARED - 0.1), one[1]) for code, one in found.items()}
        for code in owners:
            found[code] = (SHARED, "one of several known by this name")
        return found

    def _by_words(self, name: str) -> dict[str, tuple[float, str]]:
        looked = [self._look(word) for word in self._joined(tokens(name))]
        total = sum(self._weight(one) for one in looked)
        best: dict[str, tuple[float, str]] = {}
        covers: dict[str, set[int]] = defaultdict(set)
        for number in {n for one in looked for s in one.stems for n in self.holds.get(s, ())}:
            phrase = self.phrases[number]
            score, used = self._score(looked, phrase, total)
            for code, share in self._leaves_of(phrase.code):
                covers[code] |= used
                if score * share > best.get(code, (0.0, ""))[0]:
                    best[code] = (score * share, _why(looked, used, phrase))
        return self._together(best, covers, looked, total)

    def _joined(self, words: Sequence[str]) -> list[str]:
        """``Herren Hosen`` as ``herrenhosen`` where that is a word."""
        out: list[str] = []
        for word in words:
            if out and stem(out[-1] + word) in self.holds:
                out[-1] += word
            else:
                out.append(word)
        return out

    def _score(
        self, looked: Sequence[_Seen], phrase: _Phrase, total: float
    ) -> tuple[float, set[int]]:
        """How much of the name the phrase explains, and how much of the phrase the name says."""
        explained, used = 0.0, set()
        said: dict[str, float] = {}
        for number, one in enumerate(looked):
            whole = max((sure for s, sure in one.stems.items() if s in phrase.stems), default=0.0)
            part = max((sure for s, sure in one.stems.items() if s in phrase.parts), default=0.0)
            sure = max(whole, 0.6 * part)
            if sure > 0:
                used.add(number)
                explained += sure * self._weight(one)
            for s, certain in one.stems.items():
                if s in phrase.stems:
                    said[s] = max(said.get(s, 0.0), certain)
        size = sum(self.weights[s] for s in phrase.stems)
        covered = sum(self.weights[s] * sure for s, sure in said.items()) / size
        return (explained / total if total else 0.0) * (0.5 + 0.5 * min(covered, 1.0)), used

    def _together(
        self,
        best: dict[str, tuple[float, str]],
        covers: Mapping[str, set[int]],
        looked: Sequence[_Seen],
        total: float,
    ) -> dict[str, tuple[float, str]]:
        """``Brot & Brötchen`` is neither: the mixed category of the group that has both."""
        groups: dict[str, dict[str, set[int]]] = defaultdict(dict)
        for code, used in covers.items():
            if best[code][0] >= 0.2 and not code.endswith(f".{MIXED}"):
                groups[code.rpartition(".")[0]][code] = used
        for group, members in groups.items():
            mixed = f"{group}.{MIXED}"
            every = set[int]().union(*members.values())
            if self.taxonomy.node(mixed) is None or any(m == every for m in members.values()):
                continue
            share = sum(self._weight(looked[n]) for n in every) / total
            if TOGETHER * share > best.get(mixed, (0.0, ""))[0]:
                best[mixed] = (TOGETHER * share, "several categories of this group in one name")
        return best

    def _leaves_of(self, code: str) -> Iterator[tuple[str, float]]:
        """A leaf is itself; a group's name means its mixed category, or all of its few leaves."""
        taxonomy = self.taxonomy
        if code in taxonomy.leaf_set:
            yield code, 1.0
        elif f"{code}.{MIXED}" in taxonomy.leaf_set:
            yield f"{code}.{MIXED}", 0.95
        else:
            below = [leaf for leaf in taxonomy.leaves if leaf.startswith(f"{code}.")]
            share = 0.95 if len(below) == 1 else 0.5
            yield from ((leaf, share) for leaf in below)

    def _votes(self, examples: Sequence[str]) -> dict[str, tuple[float, int]]:
        """Code -> (share of the products that speak for it, how many do)."""
        looked = [one for one in examples[:MAX_EXAMPLES] if one.strip()]
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, int] = defaultdict(int)
        for product in looked:
            found = self._named(product)
            code, (score, _) = max(
                found.items(), key=lambda one: (one[1][0], one[0]), default=("", (0.0, ""))
            )
            if score < NOTHING:
                continue
            mixed = f"{code.rpartition('.')[0]}.{MIXED}"
            for target, share in {mixed: 0.7, code: 1.0}.items():
                if target in self.taxonomy.leaf_set:
                    sums[target] += share * score
                    counts[target] += 1
        return {code: (total / len(looked), counts[code]) for code, total in sums.items()}

    def _weight(self, one: _Seen) -> float:
        if not one.stems:
            return UNKNOWN_WEIGHT
        return max(self.weights.get(s, UNKNOWN_WEIGHT) * sure for s, sure in one.stems.items())

    def _look(self, word: str) -> _Seen:
        known = self.seen.get(word)
        if known is None:
            known = self.seen[word] = self._find(word)
        return known

    def _find(self, word: str) -> _Seen:
        """Exact, short form, compound, spelling, beginning; the first that says something."""
        whole, root = word.rstrip("."), stem(word)
        if root in self.holds:
            return _Seen({root: 1.0}, "")
        if bare(root) in self.bared:
            return _Seen(dict.fromkeys(self.bared[bare(root)], 0.95), "")
        near = self.words.get(whole[:1], ())
        for found in (
            self._short(whole, near, stopped=word.endswith(".")),
            self._compound(whole),
            _misspelt(whole, near),
            self._beginning(whole),
        ):
            if found is not None:
                return found
        return _Seen({}, "")

    def _short(self, word: str, near: Sequence[str], stopped: bool) -> _Seen | None:
        if len(word) < (2 if stopped else 4):
            return None
        sure = 0.9 if stopped else 0.8
        longer = {stem(w) for w in near if w.startswith(word) and len(w) > len(word)}
        if not longer and stopped:
            sure, longer = 0.75, {stem(w) for w in near if squeezed(word, w)}
        if not longer:
            return None
        return _Seen(dict.fromkeys(longer, sure / (1 + 0.05 * (len(longer) - 1))), "short for")

    def _compound(self, word: str) -> _Seen | None:
        parts = split(word, self.holds)
        if not parts:
            return None
        front = {part: 0.35 for part in parts[:-1] if part in self.holds}
        return _Seen({**front, parts[-1]: 0.85}, "made of")

    def _beginning(self, word: str) -> _Seen | None:
        for end in range(len(word) - 2, 4, -1):
            if stem(word[:end]) in self.holds and len(stem(word[:end])) >= 4:
                return _Seen({stem(word[:end]): 0.6}, "begins like")
        return None


def _misspelt(word: str, near: Sequence[str]) -> _Seen | None:
    most = 2 if len(word) >= 8 else 1 if len(word) >= 5 else 0
    typos: dict[str, float] = {}
    for other in near if most else ():
        apart = distance(word, other, most)
        if apart <= most:
            sure = 0.9 if apart <= 1 else 0.75
            typos[stem(other)] = max(typos.get(stem(other), 0.0), sure)
    surest = max(typos.values(), default=0.0)
    found = {s: sure for s, sure in typos.items() if sure == surest}
    return _Seen(found, "spelt like") if found else None


def suggester(taxonomy: Taxonomy) -> Suggester:
    """The words of a taxonomy, ready to be looked up."""
    phrases: list[_Phrase] = []
    exact: dict[str, dict[str, None]] = defaultdict(dict)
    vocabulary = {
        word.rstrip(".")
        for node in taxonomy.nodes
        for text in (*node.names.values(), *node.also)
        for word in tokens(text)
    }
    stems = {stem(word) for word in vocabulary}
    leaves = taxonomy.leaf_set
    for node in taxonomy.nodes:
        for text in dict.fromkeys((*node.names.values(), *node.also)):
            words = tokens(text)
            roots = tuple(dict.fromkeys(map(stem, words)))
            if not roots:
                continue
            parts = {p for w in words for p in split(w, stems) if p in stems} - set(roots)
            phrases.append(_Phrase(node.code, text, roots, frozenset(parts)))
            if node.code in leaves:
                exact[" ".join(map(stem, words))][node.code] = None
    holds: dict[str, list[int]] = defaultdict(list)
    owners: dict[str, set[str]] = defaultdict(set)
    for number, phrase in enumerate(phrases):
        for one in (*phrase.stems, *phrase.parts):
            holds[one].append(number)
        for one in phrase.stems:
            owners[one].add(phrase.code)
    many = len(taxonomy.nodes)
    bared: dict[str, list[str]] = defaultdict(list)
    for one in sorted(holds):
        bared[bare(one)].append(one)
    words_by: dict[str, list[str]] = defaultdict(list)
    for word in sorted(vocabulary):
        words_by[word[:1]].append(word)
    return Suggester(
        taxonomy,
        tuple(phrases),
        {name: tuple(codes) for name, codes in exact.items()},
        {one: tuple(numbers) for one, numbers in holds.items()},
        {one: math.log(1 + many / len(codes)) for one, codes in owners.items()},
        {letter: tuple(found) for letter, found in words_by.items()},
        {one: tuple(found) for one, found in bared.items()},
    )


def suggest(
    name: str, examples: Sequence[str], taxonomy: Taxonomy, most: int = 5
) -> tuple[Suggestion, ...]:
    """``Suggester.suggest`` for one name; make a ``suggester`` for more than one."""
    return suggester(taxonomy).suggest(name, examples, most)


def search(taxonomy: Taxonomy, word: str, locale: str) -> tuple[str, ...]:
    """Codes of leaves whose path, other names or code hold the word; for people who look."""
    wanted = plain(word).strip()
    out = []
    for code in taxonomy.leaves:
        texts = [code, taxonomy.path(code, locale)]
        for node in taxonomy.above(code):
            texts += [*node.names.values(), *node.also]
        if any(wanted in plain(text) for text in texts):
            out.append(code)
    return tuple(out)


def _why(looked: Sequence[_Seen], used: set[int], phrase: _Phrase) -> str:
    how = {looked[n].how for n in used} - {""}
    return f"{' and '.join(sorted(how)) or 'has words of'} {phrase.text!r}"
