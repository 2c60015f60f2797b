"""A disclosure has to fit into what the link carries, for every cohort that a descriptor allows."""

from __future__ import annotations

import pytest
from secagg_world import named

from protocols.chunks import MAX_BODY_BYTES
from protocols.secagg import RoundDescriptor, make_descriptor
from protocols.secagg.disclosure import PATH_STEP_BYTES, draw, in_full
from protocols.secagg.fixedpoint import packed_size
from protocols.secagg.merkle import chunk_coordinates, chunk_count

HEAD_BYTES = 600  # of one member: keys, root, signatures of the certificate


def descriptor_of(n: int, dim: int) -> RoundDescriptor:
    blank = bytes(32)
    return make_descriptor(
        coop=blank,
        run=bytes(16),
        round=1,
        attempt=0,
        task="train",
        model_hash=blank,
        order_hash=blank,
        agreement=blank,
        log_root=blank,
        log_size=9,
        task_hash=blank,
        roster_hash=blank,
        ids=tuple(sorted(named(f"size {i}") for i in range(n))),
        colluders=3,
        min_cohort=5,
        dim=dim,
        scale=2**12,
        clip=1.0,
        w_max=1,
        max_dropout=10,
        stage_timeouts_s=(60,) * 6,
    )


@pytest.mark.parametrize("n", [10, 100, 250, 299, 300, 301, 500, 700, 1000])
@pytest.mark.parametrize("dim", [2_047, 16_383, 32_766, 100_000, 1_000_000, 4_000_000])
def test_a_disclosure_fits_into_one_body(n: int, dim: int) -> None:
    one = descriptor_of(n, dim)
    size = n * packed_size(one.coordinates, one.width)
    if not in_full(one, n):
        chunk, count = chunk_coordinates(one.width), chunk_count(one.coordinates, one.width)
        shown = draw(bytes(32), bytes(32), bytes(32), one, n)
        assert len(shown) >= 2 and shown[-1] == count - 1
        values = (len(shown) - 1) * chunk + one.coordinates - (count - 1) * chunk
        paths = len(shown) * PATH_STEP_BYTES * (count - 1).bit_length()
        size = n * (packed_size(values, one.width) + paths)
    assert size + 4 * dim + n * HEAD_BYTES < MAX_BODY_BYTES
