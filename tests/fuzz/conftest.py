from __future__ import annotations

from tests.web.conftest import _site, make, model, publish, receive

__all__ = ["_site", "make", "model", "publish", "receive"]
