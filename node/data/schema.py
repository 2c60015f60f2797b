"""The canonical table ``sales_line`` as it lies in the vault's Parquet files."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

AMOUNT: Final = pa.decimal128(18, 6)

SALES_LINE: Final = pa.schema(
    [
        pa.field("order_ref", pa.string()),
        pa.field("ts_utc", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("business_date", pa.date32(), nullable=False),
        pa.field("sku", pa.string()),
        pa.field("product", pa.string()),
        pa.field("category_code", pa.string()),
        pa.field("qty", AMOUNT, nullable=False),
        pa.field("unit_price", AMOUNT),
        pa.field("discount", AMOUNT, nullable=False),
        pa.field("net", AMOUNT, nullable=False),
        pa.field("currency", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("location", pa.string()),
        pa.field("is_return", pa.bool_(), nullable=False),
        pa.field("customer_key", pa.string()),
    ]
)

# One row a customer, and one a product, place and day. Of a customer the earliest ``first_seen``
# counts and the newest country, region and source; of a stock the newest row.
CUSTOMER: Final = pa.schema(
    [
        pa.field("customer_key", pa.string(), nullable=False),
        pa.field("first_seen", pa.date32()),
        pa.field("country", pa.string()),
        pa.field("region", pa.string()),
        pa.field("source", pa.string()),
    ]
)
STOCK: Final = pa.schema(
    [
        pa.field("sku", pa.string(), nullable=False),
        pa.field("location", pa.string()),
        pa.field("on_hand", AMOUNT),
        pa.field("incoming", AMOUNT),
        pa.field("as_of", pa.date32(), nullable=False),
    ]
)

# What a line carries in the vault beside what it says: its identity, and whether its customer was
# corrected here, so that the same export never brings the old one back.
STORED_LINE: Final = pa.schema(
    [
        *SALES_LINE,
        pa.field("line_hash", pa.binary(16), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),
        pa.field("corrected", pa.bool_(), nullable=False),
    ]
)
STORED_CUSTOMER: Final = pa.schema([*CUSTOMER, pa.field("corrected", pa.bool_(), nullable=False)])
STORED: Final = {"sales_line": STORED_LINE, "customer": STORED_CUSTOMER, "stock": STOCK}
DAY: Final = {"sales_line": "business_date", "customer": "first_seen", "stock": "as_of"}

# While an import runs, each line also carries where it stood and what its clock showed.
STAGED: Final = pa.schema(
    [
        *SALES_LINE,
        pa.field("line", pa.int64(), nullable=False),
        pa.field("local_us", pa.int64(), nullable=False),
    ]
)

# An order that an export has, and of which it leaves out every line.
ORDER: Final = pa.schema(
    [
        pa.field("order_ref", pa.string(), nullable=False),
        pa.field("ts_utc", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("business_date", pa.date32(), nullable=False),
    ]
)

# What makes two lines the same line: everything the till printed. The customer key and the UTC
# instant are left out, because they change with the member's secret and the time zone option.
IDENTITY: Final[tuple[str, ...]] = (
    "order_ref",
    "business_date",
    "local_us",
    "sku",
    "product",
    "category_code",
    "qty",
    "unit_price",
    "discount",
    "net",
    "channel",
    "location",
    "is_return",
)
