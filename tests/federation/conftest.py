"""Flower may neither call home nor look for updates; one thread keeps training the same."""

from __future__ import annotations

import os

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import torch

torch.set_num_threads(1)
