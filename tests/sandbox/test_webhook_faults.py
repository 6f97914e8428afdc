"""The notation of webhook faults, and what a webhook's configuration takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox import (
    SandboxConfig,
    Trigger,
    WebhookConfig,
    WebhookFault,
    WebhookFaultKind,
    parse_webhook_faults,
)
from papsms_async.sandbox.webhook_faults import WEBHOOK_KINDS

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("loss@0.05", WebhookFault(WebhookFaultKind.LOSS, 0, 0, Trigger(0.05))),
        ("late", WebhookFault(WebhookFaultKind.LATE, 60, 60)),
        ("late=0-30", WebhookFault(WebhookFaultKind.LATE, 0, 30)),
        ("LATE=2.5#3", WebhookFault(WebhookFaultKind.LATE, 2.5, 2.5, Trigger(1.0, 3, 3))),
        ("duplicate", WebhookFault(WebhookFaultKind.DUPLICATE, 1, 1)),
        ("duplicate=3#2-", WebhookFault(WebhookFaultKind.DUPLICATE, 3, 3, Trigger(1.0, 2))),
        ("reorder@1", WebhookFault(WebhookFaultKind.REORDER, 5, 5, Trigger(1.0))),
        ("replay=400", WebhookFault(WebhookFaultKind.REPLAY, 400, 400)),
        ("forged_code", WebhookFault(WebhookFaultKind.FORGED_CODE, 0, 10)),
        ("forged_id=3", WebhookFault(WebhookFaultKind.FORGED_ID, 0, 3)),
        ("forged_path#1-2", WebhookFault(WebhookFaultKind.FORGED_PATH, 0, 10, Trigger(1.0, 1, 2))),
    ],
)
def test_notation(text: str, fault: WebhookFault) -> None:
    """A fault is read from its notation and remembers it."""
    parsed = WebhookFault.parse(text)
    assert (parsed.kind, parsed.low, parsed.high, parsed.trigger) == (
        fault.kind,
        fault.low,
        fault.high,
        fault.trigger,
    )
    assert str(parsed) == text.lower()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lost", "known are loss, late"),
        ("", "known are loss"),
        ("loss=1", "loss takes no value"),
        ("late=", "not a number of seconds"),
        ("late=9-1", "LOW <= HIGH"),
        ("late=1-2-3", "not a number of seconds"),
        ("duplicate=0", "from 1 to 10"),
        ("duplicate=11", "from 1 to 10"),
        ("duplicate=1.5", "from 1 to 10"),
        ("reorder=-1", "not a number of seconds"),
        ("forged_code=1-2", "not a number of seconds"),
        ("loss@1.5", "between 0 and 1"),
        ("loss#0", "counted from 1"),
        ("loss@", "how often"),
    ],
)
def test_what_is_no_fault(text: str, why: str) -> None:
    """What is not of the notation is refused with a sentence that says what is."""
    with pytest.raises(ValueError, match="not a webhook fault") as caught:
        WebhookFault.parse(text)
    assert why in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text does anything but give faults or a ValueError."""
    try:
        faults = parse_webhook_faults(text)
    except ValueError:
        return
    assert parse_webhook_faults(",".join(map(str, faults))) == faults


def test_each_kind_is_documented() -> None:
    """Each kind is told of."""
    assert set(WEBHOOK_KINDS) == set(WebhookFaultKind)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/hook/s3cret",
        "http://127.8.8.8/",
        "https://localhost:9443/x?y=1",
        "http://[::1]:9000/x",
        "http://LOCALHOST/x",
    ],
)
def test_urls_of_this_machine(url: str) -> None:
    """Loopback URLs need no permission."""
    assert SandboxConfig(webhook=WebhookConfig(url=url)).webhook is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://example.com/x",
        "http://localhost.example.com/x",
        "http://127.0.0.1.example.com/x",
        "http://127.1/x",
        "http://2130706433/x",
        "http://0x7f000001/x",
        "http://0.0.0.0/x",
        "http://[::]/x",
        "http://[fe80::1]/x",
    ],
)
def test_urls_of_other_machines(url: str) -> None:
    """Any other host, also one that is only spelled like loopback, needs permission."""
    with pytest.raises(ValueError, match="--webhook-remote"):
        SandboxConfig(webhook=WebhookConfig(url=url))
    assert SandboxConfig(webhook=WebhookConfig(url=url), webhook_remote=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http:///x",
        "http://127.0.0.1:0/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:x/x",
        "http://user:word@127.0.0.1/x",
        "http://@127.0.0.1/x",
        "http://127.0.0.1/x#y",
        "http://127.0.0.1/x y",
        "http://127.0.0.1/\r\nX-Header: 1",
        "http://127.0.0.1/ü",
        "http://[::1/x",
        "http://127.0.0.1/" + "x" * 2048,
    ],
)
def test_what_is_no_url(url: str) -> None:
    """What can't be posted to is refused, and the refusal does not repeat it."""
    with pytest.raises(ValueError, match="webhook URL") as caught:
        WebhookConfig(url=url)
    assert url == "" or url not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"secret": "whsec_"}, "24 to 64 bytes"),
        ({"secret": SECRET.removeprefix("whsec_")}, "whsec_"),
        ({"secret": "whsec_" + "!" * 44}, "base64"),
        ({"secret": "whsec_" + "A" * 100}, "24 to 64 bytes"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": 21}, "attempts"),
        ({"backoff": 0.0}, "backoff"),
        ({"backoff": float("nan")}, "backoff"),
        ({"timeout": 61.0}, "timeout"),
        ({"shape": "xml"}, "xml"),
        ({"faults": "loss@2"}, "between 0 and 1"),
    ],
)
def test_values_out_of_range(options: dict[str, object], why: str) -> None:
    """Every option has bounds."""
    with pytest.raises(ValueError, match=why):
        WebhookConfig(url="http://127.0.0.1/x", **options)  # type: ignore[arg-type]


def test_the_secrets_stay_out_of_the_repr() -> None:
    """Neither the URL's path nor the signing secret is in a repr."""
    config = WebhookConfig(url="http://127.0.0.1:8000/hook/s3cret", secret=SECRET)
    for text in (repr(config), repr(SandboxConfig(webhook=config)), config.shown_url):
        assert "s3cret" not in text
        assert SECRET not in text
    assert config.shown_url == "http://127.0.0.1:8000/..."
