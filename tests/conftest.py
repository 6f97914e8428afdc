"""Fixtures for more than one module of tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses


class MockedResponse(aiohttp.ClientResponse):
    """What aioresponses 0.7 must build since aiohttp 3.14 wants a ``stream_writer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in inspect.signature(aiohttp.ClientResponse).parameters:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


class Mocked(aioresponses):  # type: ignore[misc]
    """aioresponses that builds responses which the installed aiohttp accepts."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add an answer; see `aioresponses.aioresponses.add`."""
        kwargs.setdefault("response_class", MockedResponse)
        super().add(*args, **kwargs)


@pytest.fixture
def mocked_aiohttp() -> Iterator[aioresponses]:
    """Answer aiohttp's requests without a server."""
    with Mocked() as mocked:
        yield mocked
