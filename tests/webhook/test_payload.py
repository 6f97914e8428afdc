"""What a webhook says, in every form that is usual; in doubt it says less, never something else."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from papsms_async.converter import ValueRefusedError
from papsms_async.models import Sms
from papsms_async.webhook.payload import read_webhook

TEXT = "Your code: 847291"
AT = "2026-04-19T14:35:22Z"
SMS = Sms(code="847291", full_text=TEXT)


def read(value):
    """Read a value as JSON."""
    return read_webhook(json.dumps(value).encode())


@pytest.mark.parametrize(
    "value",
    [
        {"activation_id": "123", "code": "847291", "full_text": TEXT},
        {"activation_id": 123, "code": 847291, "full_text": TEXT},
        {"activationId": "123", "code": "847291", "text": TEXT},
        {"id": "123", "code": "847291", "fullText": TEXT},
        {"id": "123", "sms": {"code": "847291", "full_text": TEXT}},
        {"id": "123", "sms": [{"code": "1", "text": "old"}, {"code": "847291", "text": TEXT}]},
        {"activation_id": "123", "sms_code": "847291", "message": TEXT},
        {"event": "sms.received", "data": {"activation_id": "123", "code": "847291", "text": TEXT}},
        {"id": "evt_9", "type": "sms", "data": {"id": "123", "code": "847291", "text": TEXT}},
        {"id": "evt_9", "activation_id": "123", "sms": {"id": 7, "code": "847291", "text": TEXT}},
        {"activation": {"id": "123"}, "sms": {"code": "847291", "text": TEXT}},
        {"payload": {"data": {"activationId": "123", "sms": {"code": "847291", "text": TEXT}}}},
        {"activation_id": "123", "data": {"activation_id": "123", "code": "847291", "text": TEXT}},
    ],
)
def test_aliases_and_wrappings(value):
    """Names and nesting vary, the meaning does not."""
    event = read(value)
    assert event.activation_id == "123"
    assert event.sms == SMS


def test_instant_is_read_wherever_it_stands():
    """Beside the text or around it."""
    at = datetime(2026, 4, 19, 14, 35, 22, tzinfo=UTC)
    inside = read({"id": "1", "sms": {"code": "1", "text": "t", "received_at": AT}})
    around = read({"id": "1", "received_at": AT, "sms": {"code": "1", "text": "t"}})
    plain = read({"id": "1", "receivedAt": AT, "code": "1", "text": "t"})
    strange = read({"id": "1", "received_at": "yesterday", "code": "1", "text": "t"})
    assert [event.sms.received_at for event in (inside, around, plain, strange)] == [
        at,
        at,
        at,
        None,
    ]


def test_what_it_says_of_the_purchase_is_kept():
    """Number, service and country tell whose an unknown id may be."""
    event = read(
        {
            "activation_id": "1",
            "code": "2",
            "phone_number": "0014155550123",
            "data": {"service": "whatsapp", "country": "US"},
        }
    )
    assert (event.phone_number, event.service, event.country) == ("+14155550123", "whatsapp", "us")
    assert "4155550123" not in repr(event)
    strange = read({"activation_id": "1", "phone": "no", "service": 7.5, "country": None})
    assert (strange.phone_number, strange.service, strange.country) == (None, None, None)


def test_null_code_is_an_sms_without_a_code():
    """The service recognised none; the text counts."""
    event = read({"activation_id": "1", "code": None, "full_text": TEXT})
    assert event.sms == Sms(code=None, full_text=TEXT)


@pytest.mark.parametrize("code", [{}, [1], True, "1\n2", "x" * 500, 1.5e300])
def test_code_that_can_not_be_read_leaves_the_sms_to_the_status(code):
    """It is there and it is not understood: then nothing is taken at its word."""
    event = read({"activation_id": "1", "sms": {"code": code, "full_text": TEXT}})
    assert event.activation_id == "1"
    assert event.sms is None


@pytest.mark.parametrize(
    "value",
    [
        {"activation_id": "1"},
        {"activation_id": "1", "status": "received"},
        {"activation_id": "1", "sms": None},
        {"activation_id": "1", "code": "", "full_text": "  "},
        {"activation_id": "1", "sms": {}},
    ],
)
def test_id_alone_tells_that_something_happened(value):
    """Without an SMS in it, it is still a word about an activation."""
    assert read(value).sms is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "123",
        7,
        {},
        {"code": "1", "text": "t"},
        {"activation_id": None},
        {"activation_id": True},
        {"activation_id": 1.5},
        {"activation_id": ""},
        {"activation_id": "x" * 201},
        {"activation_id": "a\u0000b"},
        {"activation_id": {"id": "1"}},
        {"activation_id": "1", "data": {"activation_id": "2"}},
        {"activation_id": "1", "activationId": "2"},
        # A broken id does not make way for another one that is meant for something else.
        {"activation_id": {}, "id": "2"},
    ],
)
def test_without_a_clear_id_it_is_refused(value):
    """None, two, or one that can't be one."""
    with pytest.raises(ValueRefusedError):
        read(value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"activation_id=1",
        b'{"activation_id": "1"} x',
        b'{"activation_id": "1", "activation_id": "2"}',
        b'{"activation_id": "1", "sms": {"code": "1", "code": "2"}}',
        b'{"activation_id": "\xff"}',
        b'\xff\xfe{\x00"\x00',
        b'{"activation_id": "1", "x": ' + b"[" * 9 + b"]" * 9 + b"}",
        b"[" * 8000 + b"]" * 8000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b"'",
    ],
)
def test_what_two_readers_may_read_differently_is_refused(body):
    """No duplicate keys, no broken UTF-8, no depths; and no error quotes what was sent."""
    with pytest.raises(ValueRefusedError) as caught:
        read_webhook(body)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
