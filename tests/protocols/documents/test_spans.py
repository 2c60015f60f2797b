"""Times as people say them."""

from __future__ import annotations

import pytest

from protocols.documents.notice_words import in_words
from protocols.documents.words import span


@pytest.mark.parametrize(
    ("days", "locale", "said"),
    [
        (30, "en", "30 days"),
        (364, "en", "364 days"),
        (365, "en", "1 year (365 days)"),
        (366, "en", "1 year (366 days)"),
        (367, "en", "367 days"),
        (730, "de", "2 Jahre (730 Tage)"),
        (1826, "en", "5 years (1826 days)"),
        (1830, "en", "1830 days"),
        (90, "de-AT", "90 Tage"),
    ],
)
def test_whole_years_are_said_as_years_with_the_exact_days(
    days: int, locale: str, said: str
) -> None:
    assert span(days, locale) == said


def test_columns_are_said_in_words_with_their_names() -> None:
    assert in_words(["qty", "sales_line.customer_key", "own_column"]) == (
        "how many (qty), a number that stands for the customer (sales_line.customer_key), "
        "own_column"
    )
