"""One cooperative for all attacks of a worker; Flower may not call home."""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

from collections.abc import Iterator

import pytest
import torch
from attack_coop import Coop, cooperative

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coop]:
    with cooperative(tmp_path_factory.mktemp("attacked")) as made:
        yield made
