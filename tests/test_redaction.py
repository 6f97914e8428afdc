"""An excerpt keeps the reason of an error and none of the secrets around it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.redaction import MAX_EXCERPT, excerpt


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ('{"data": {"sms": {"code": "QWERTY", "full_text": "Your code is QWERTY"}}}', "QWERTY"),
        ('{"data": {"sms": {"code": "QWERTY", "full_text": "Your code is QWER', "QWER"),
        ('{"phone_number": "+14155550123"}', "4155"),
        ('{"phone_number": 14155550123}', "4155"),
        ("call +1 (415) 555-01-23 now", "415"),
        ("call ٤١٥٥٥٥٠١٢٣ now", "٤١٥"),
        ('{"message": "code 847291 sent"}', "847291"),
        ("Invalid API key: canarykey", "canarykey"),
        ("Invalid API key 'canarykey'", "canarykey"),
        ("Authorization: Bearer canary.key", "canary"),
        ('{"api_key": "canarykey"}', "canary"),
        ('{"error": "sk_live_QWERTYUIOPasdfghjkl"}', "QWERTY"),
        ("token=canarytoken&x=1", "canarytoken"),
        ("user canary@mail.example is unknown", "canary"),
        ("Key 3f9a-77bc-ffff is unknown", "77bc"),
        ("a" * 300, "a" * 41),
    ],
)
def test_secrets_are_blanked(body: str, hidden: str) -> None:
    """Numbers, codes, texts, keys and addresses don't get through."""
    assert hidden not in excerpt(body)
    assert hidden not in excerpt(body.encode())


@pytest.mark.parametrize(
    "body",
    [
        '{"success":false,"error":{"code":"NO_NUMBERS","message":"No numbers available"}}',
        '{"success":false,"error":"TOO_MANY_ACTIVE_ACTIVATIONS"}',
        "<html><head><title>Bad Gateway</title></head></html>",
        "Service temporarily unavailable",
    ],
)
def test_reasons_are_kept(body: str) -> None:
    """What an excerpt is read for stays readable."""
    assert excerpt(body) == body


@given(
    st.text(max_size=400) | st.binary(max_size=400).map(lambda raw: raw.decode("utf-8", "replace"))
)
def test_an_excerpt_is_one_short_line_without_numbers(body: str) -> None:
    """At most 200 printable characters, no run of three digits."""
    for given_ in (body, json.dumps({"error": {"message": body}}), body.encode("utf-8", "replace")):
        shown = excerpt(given_)
        assert len(shown) <= MAX_EXCERPT
        assert shown.isprintable()
        assert not re.search(r"\d{3}", shown)


def test_a_megabyte_takes_no_time() -> None:
    """Only the beginning is looked at, and bytes that are no text do no harm."""
    assert len(excerpt(b'"' * 1_000_000)) <= MAX_EXCERPT
    assert len(excerpt(b"\xff\x00" * 500_000)) <= MAX_EXCERPT
    assert excerpt(b"") == ""
