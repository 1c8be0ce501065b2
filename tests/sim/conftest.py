"""The compiled examples/pos for simulations."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests import pos_app


@pytest.fixture(scope="session")
def pos_module() -> ModuleType:
    """The imported package `pos`."""
    return pos_app.pos_module()
