"""Names of the shared categories beside their codes, where people read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from protocols.taxonomy.form import Taxonomy

LOCALE: Final = "en"
_CODE = re.compile(r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)+\b")


@dataclass(frozen=True)
class CategoryNames:
    """The list that a node uses, read only once a code is to be shown.

    Args:
        folder: the node's.
    """

    folder: Path

    @cached_property
    def _taxonomy(self) -> Taxonomy:
        from node.data.categories import in_use

        return in_use(self.folder)

    def of(self, code: str) -> str:
        """What the list calls a code; "" for a name of the shop's own."""
        if not _CODE.fullmatch(code) or code not in self._taxonomy.leaf_set:
            return ""
        return self._taxonomy.leaf(code).said(LOCALE)

    def beside(self, code: str) -> str:
        """``Bread (food.bakery.bread)``; a name of the shop's own as it is."""
        name = self.of(code)
        return f"{name} ({code})" if name else code

    def said(self, sentence: str) -> str:
        """A sentence with the name before each code in it."""
        return _CODE.sub(lambda found: self.beside(found[0]), sentence)

    def within(self, sentences: Iterable[str]) -> dict[str, str]:
        """Code -> name of the codes in some sentences, for ``--json``."""
        codes = {code for one in sentences for code in _CODE.findall(one)}
        return {code: name for code in sorted(codes) if (name := self.of(code))}
