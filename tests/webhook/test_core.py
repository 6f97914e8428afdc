"""Which request is a webhook: every other one is refused, and who has no secret learns nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.errors import ConfigurationError
from papsms_async.models import WebhookEvent
from papsms_async.webhook.addresses import AddressRules
from papsms_async.webhook.core import (
    AMBIGUOUS,
    MAX_BODY,
    NOT_FOUND,
    NOT_JSON,
    TOO_LARGE,
    UNREADABLE,
    WRONG_METHOD,
    Gate,
    Refusal,
    WebhookRequest,
)

SECRET = "a-secret-that-is-long-enough_1"


def judge(gate, request, body, *, now=0.0):
    """Admit a request by its head, and then read it, as the receiver does."""
    return gate.admit(request) or gate.read(request, body, now=now)


@pytest.fixture
def gate(secret):
    """A gate with one secret."""
    return Gate([secret])


def test_right_request_is_read(gate, make_request, make_body):
    """Method, path, type and body are right: it says what the service says."""
    event = judge(gate, make_request(), make_body())
    assert isinstance(event, WebhookEvent)
    assert event.activation_id == "12345678"
    assert event.sms.code == "847291"
    assert not event.signed


def test_two_secrets_are_taken_while_they_are_rotated(
    secret, other_secret, make_request, make_body
):
    """The old one and the new one open the gate; before and after only one of them does."""
    both = Gate([secret, other_secret])
    for path in (f"/{secret}", f"/{other_secret}"):
        assert isinstance(judge(both, make_request(path), make_body()), WebhookEvent)
    assert Gate([secret]).admit(make_request(f"/{other_secret}")) is NOT_FOUND
    assert Gate([other_secret]).admit(make_request(f"/{secret}")) is NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/wrong",
        f"/{SECRET}/",
        f"/{SECRET}x",
        f"/{SECRET[:-1]}",
        f"//{SECRET}",
        f"/x/{SECRET}",
        f"/{SECRET}?a=b",
        f"/{SECRET.upper()}",
        f"/%61{SECRET[1:]}",
        f"/{SECRET}\0",
        "/\ud800",
        "/" + "a" * 10_000,
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "OPTIONS", "PUT", "BREW"])
def test_without_the_secret_everything_is_not_found(gate, make_request, path, method):
    """Whatever else is right or wrong, there is one answer."""
    assert gate.admit(make_request(path, method=method)) is NOT_FOUND
    assert gate.admit(make_request(path, method=method, content_type="text/html")) is NOT_FOUND
    assert gate.admit(make_request(path, method=method, content_length="99999999")) is NOT_FOUND


def test_address_that_is_not_listed_learns_nothing_either(secret, make_request):
    """From elsewhere the right secret looks like a wrong one."""
    gate = Gate([secret], addresses=AddressRules(["203.0.113.0/24"]))
    assert gate.admit(make_request()) is None
    assert gate.admit(make_request(peer="198.51.100.1")) is NOT_FOUND
    assert gate.admit(make_request(peer="198.51.100.1", x_forwarded_for="203.0.113.7")) is NOT_FOUND
    assert gate.admit(make_request(peer=None)) is NOT_FOUND


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post"])
def test_only_post(gate, make_request, method):
    """Who knows the secret is told what is wrong."""
    assert gate.admit(make_request(method=method)) is WRONG_METHOD


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/vnd.papsms+json",
    ],
)
def test_json_is_taken(gate, make_request, kind):
    """Its usual names are."""
    assert gate.admit(make_request(content_type=kind)) is None


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "application/json; charset=utf-16",
        "x application/json",
    ],
)
def test_what_is_not_json_is_refused(gate, make_request, kind):
    """Also what a browser can send across origins without asking."""
    assert gate.admit(make_request(content_type=kind)) is NOT_JSON


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_compressed_is_refused(gate, make_request, coding):
    """A small body that unpacks to a large one never gets so far."""
    assert gate.admit(make_request(content_encoding=coding)) is NOT_JSON
    assert gate.admit(make_request(content_encoding="identity")) is None


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "1 2", "\u0661", "+5"])
def test_length_that_can_be_read_in_two_ways_is_refused(gate, make_request, length):
    """Digits or nothing."""
    assert gate.admit(make_request(content_length=length)) is AMBIGUOUS


def test_length_is_bounded(gate, make_request):
    """By what is announced, and by what comes."""
    assert gate.admit(make_request(content_length=str(MAX_BODY))) is None
    assert gate.admit(make_request(content_length=str(MAX_BODY + 1))) is TOO_LARGE
    assert gate.admit(make_request(content_length="9" * 5000)) is TOO_LARGE
    assert gate.read(make_request(), b" " * (MAX_BODY + 1), now=0.0) is TOO_LARGE


@pytest.mark.parametrize("name", ["Content-Type", "content-length", "Content-Encoding", "HOST"])
def test_repeated_headers_are_refused(gate, make_request, name):
    """A proxy might believe the one line and this the other."""
    more = ((name, "application/json"), (name.lower(), "application/json"))
    assert gate.admit(make_request(more=more)) is AMBIGUOUS


@pytest.mark.parametrize(
    "secrets", [[], [""], ["short"], ["a" * 21], ["ä" * 30], ["a/" * 20], ["a" * 201], [7]]
)
def test_secrets_that_can_be_guessed_or_misread_are_refused(secrets):
    """One clear sentence, without the secret."""
    with pytest.raises(ConfigurationError) as caught:
        Gate(secrets)
    assert not any(str(word) in str(caught.value) for word in secrets if word)


def test_more_than_two_secrets_are_refused(secret):
    """What was rotated away has to go."""
    with pytest.raises(ConfigurationError, match="one secret, or two"):
        Gate([secret, secret[::-1], secret[1:]])


def test_repr_shows_no_secret(gate, secret, make_request):
    """Neither that of the gate nor that of a request, whose headers may hold others."""
    shown = f"{gate!r} {make_request(authorization='Bearer canary')!r}"
    assert secret not in shown
    assert "canary" not in shown


_text = st.text(max_size=40)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "activation_id", "data", "sms", "code", "full_text", "text"])
            | _text,
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(body=st.binary(max_size=200) | _values.map(lambda value: json.dumps(value).encode()))
def test_any_body_gives_an_event_or_a_refusal(body):
    """Nothing else, whatever comes."""
    request = WebhookRequest(
        method="POST", path=f"/{SECRET}", headers=[("content-type", "application/json")]
    )
    result = judge(Gate([SECRET]), request, body)
    assert isinstance(result, WebhookEvent) or result is UNREADABLE


@given(
    method=_text,
    path=_text,
    headers=st.lists(st.tuples(_text, _text), max_size=6),
    peer=st.none() | _text,
    body=st.binary(max_size=50),
)
def test_any_request_without_the_secret_is_not_found(method, path, headers, peer, body):
    """Whatever it looks like, there is one refusal."""
    rules = AddressRules(["203.0.113.0/24"], ["10.0.0.0/8", "unix"])
    request = WebhookRequest(method=method, path=path, headers=headers, peer=peer)
    for addresses in (None, rules):
        result = judge(Gate([SECRET], addresses=addresses), request, body)
        assert result == Refusal(404, "not found")
