"""Standard Webhooks signatures: the reference's own are taken, all others are not."""

from __future__ import annotations

import base64
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from papsms_async.errors import ConfigurationError
from papsms_async.models import WebhookEvent
from papsms_async.webhook.core import NOT_SIGNED, Gate
from papsms_async.webhook.signature import SignatureVerifier

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEXT_KEY = "whsec_" + base64.b64encode(b"another key of signatures").decode()
NOW = 1_776_600_000.0
BODY = '{"activation_id": "1", "code": "2", "full_text": "naïve"}'.encode()


def signed(body=BODY, *, key=KEY, at=NOW, message_id="msg_1"):
    """Return the headers that the reference implementation makes."""
    instant = datetime.fromtimestamp(at, UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": Webhook(key).sign(message_id, instant, body.decode()),
    }


def judge(gate, request, body, *, now=0.0):
    """Admit a request by its head, and then read it, as the receiver does."""
    return gate.admit(request) or gate.read(request, body, now=now)


@pytest.fixture
def verifier():
    """Verifies with one secret."""
    return SignatureVerifier([KEY])


def test_vector_of_the_reference():
    """The example of the specification's own libraries."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    verifier = SignatureVerifier([KEY])
    assert verifier.accepts(headers, b'{"test": 2432232314}', now=1614265330.0)
    assert not verifier.accepts(headers, b'{"test": 2432232315}', now=1614265330.0)


def test_right_signature_is_taken(verifier):
    """Alone, or among others of other versions and keys."""
    headers = signed()
    assert verifier.accepts(headers, BODY, now=NOW)
    foreign = signed(key=NEXT_KEY)["webhook-signature"]
    many = f"v1a,abc v2, {foreign} {headers['webhook-signature']}"
    assert verifier.accepts({**headers, "webhook-signature": many}, BODY, now=NOW)


def test_two_secrets_are_taken_while_they_are_rotated():
    """Old and new, whichever the sender has."""
    both = SignatureVerifier([KEY, NEXT_KEY])
    for key in (KEY, NEXT_KEY):
        assert both.accepts(signed(key=key), BODY, now=NOW)
    assert not SignatureVerifier([KEY]).accepts(signed(key=NEXT_KEY), BODY, now=NOW)


@pytest.mark.parametrize("age", [-301, -299, 0, 299, 301])
def test_time_of_sending_may_be_off_by_the_tolerance(verifier, age):
    """What was captured is of no use five minutes later."""
    assert verifier.accepts(signed(at=NOW - age), BODY, now=NOW) is (abs(age) < 300)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": None},
        {"webhook-id": ""},
        {"webhook-id": "msg_2"},
        {"webhook-id": "x" * 300},
        {"webhook-timestamp": None},
        {"webhook-timestamp": str(int(NOW) + 1)},
        {"webhook-timestamp": f"{NOW}"},
        {"webhook-timestamp": f" {int(NOW)}"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": "9" * 50},
        {"webhook-signature": None},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,!!!"},
        {"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()},
        {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": " ".join(["v1,AAAA"] * 50) + " " + signed()["webhook-signature"]},
    ],
)
def test_anything_else_is_not(verifier, changes):
    """Missing, changed, malformed, or hidden behind many."""
    assert not verifier.accepts({**signed(), **changes}, BODY, now=NOW)


@given(body=st.binary(max_size=100), junk=st.text(max_size=60))
def test_no_body_and_no_junk_is_taken_for_signed(body, junk):
    """Without the key there is no way in, and no exception."""
    verifier = SignatureVerifier([KEY])
    if body != BODY:
        assert not verifier.accepts(signed(), body, now=NOW)
    for name in verifier.HEADERS:
        assert not verifier.accepts({**signed(), name: junk}, BODY, now=NOW) or (
            junk == signed()[name]
        )


def test_gate_asks_for_the_signature(verifier, secret, make_request):
    """With a secret of signatures the one in the path is not enough; repeats are ambiguous."""
    gate = Gate([secret], signatures=verifier)
    lines = tuple(signed().items())
    event = judge(gate, make_request(more=lines), BODY, now=NOW)
    assert isinstance(event, WebhookEvent)
    assert event.signed
    assert judge(gate, make_request(), BODY, now=NOW) is NOT_SIGNED
    assert judge(gate, make_request(more=(*lines, lines[0])), BODY, now=NOW) is NOT_SIGNED
    assert judge(gate, make_request(more=lines), BODY + b" ", now=NOW) is NOT_SIGNED
    # A signature does not stand in for the secret in the path.
    assert judge(gate, make_request("/wrong", more=lines), BODY, now=NOW).status == 404


@pytest.mark.parametrize(
    "secrets",
    [[], [""], ["whsec_"], ["a"], ["\u00e4"], ["no base64!" * 5], ["nonsense"], [KEY] * 3],
)
def test_secrets_that_can_not_be_used_are_refused(secrets):
    """One clear sentence, without the secret."""
    with pytest.raises(ConfigurationError) as caught:
        SignatureVerifier(secrets)
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)


def test_missing_package_is_one_sentence(monkeypatch):
    """It says what to install."""
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'papsms-async\[webhook\]'"):
        SignatureVerifier([KEY])


def test_tolerance_has_bounds(verifier):
    """And no repr shows the key."""
    for tolerance in (0, -1, 1e9, float("nan")):
        with pytest.raises(ConfigurationError):
            SignatureVerifier([KEY], tolerance=tolerance)
    assert "MfKQ9" not in repr(verifier)
