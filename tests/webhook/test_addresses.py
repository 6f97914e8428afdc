"""Who sends a webhook: the word of proxies is believed, that of strangers is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.errors import ConfigurationError
from papsms_async.webhook.addresses import AddressRules

SENDER = "203.0.113.7"
STRANGER = "198.51.100.9"
PROXY, OUTER = "10.0.0.1", "10.0.9.9"


@pytest.fixture
def rules():
    """A sender's network, behind two proxies."""
    return AddressRules(["203.0.113.0/24", "2001:db8::/32"], ["10.0.0.0/16"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "allowed"),
    [
        (SENDER, [], True),
        (STRANGER, [], False),
        (STRANGER, [SENDER], False),
        (SENDER, [STRANGER], True),
        (PROXY, [SENDER], True),
        (PROXY, [STRANGER], False),
        (PROXY, [f"{SENDER}, {STRANGER}"], False),
        (PROXY, [f"{STRANGER}, {SENDER}"], True),
        (PROXY, [f"{SENDER}, {OUTER}"], True),
        (PROXY, [SENDER, OUTER], True),
        (PROXY, [SENDER, STRANGER, OUTER], False),
        (PROXY, [f"{SENDER}, nonsense"], False),
        (PROXY, [f"{SENDER},"], False),
        (PROXY, [f"{SENDER}:4711"], True),
        (PROXY, ["[2001:db8::1]:80"], True),
        (PROXY, ["[2001:db8::1]"], True),
        (PROXY, ["2001:db8::1"], True),
        (PROXY, [f"::ffff:{SENDER}"], True),
        (f"::ffff:{PROXY}", [SENDER], True),
        (f"::ffff:{SENDER}", [], True),
        (PROXY, [], False),
        (PROXY, [PROXY], False),
        (None, [SENDER], False),
        ("", [SENDER], False),
        ("nonsense", [SENDER], False),
    ],
)
def test_sender_is_the_first_that_is_no_proxy_from_the_right(rules, peer, forwarded, allowed):
    """A header counts as far as known proxies wrote it."""
    assert rules.allows(peer, forwarded) is allowed


def test_unix_socket_is_a_proxy_if_it_is_named():
    """Behind a proxy on a Unix socket there is no peer's address."""
    assert AddressRules([SENDER], ["unix"]).allows(None, [SENDER])
    assert not AddressRules([SENDER], ["unix"]).allows(None, [STRANGER])
    assert not AddressRules([SENDER], ["unix"]).allows(None, [])
    assert not AddressRules([SENDER]).allows(None, [SENDER])


@pytest.mark.parametrize(
    ("allowed", "proxies"),
    [(["nonsense"], []), ([SENDER], ["10.0.0.0/99"]), ([], []), ([""], []), (["unix"], [])],
)
def test_lists_that_can_not_be_read_are_refused(allowed, proxies):
    """One clear sentence; and an empty list is no list that lets everybody in."""
    with pytest.raises(ConfigurationError):
        AddressRules(allowed, proxies)


@given(lies=st.lists(st.sampled_from([SENDER, PROXY, OUTER, STRANGER, "x", ""]), max_size=6))
def test_nothing_that_a_stranger_writes_makes_it_the_sender(lies):
    """Whatever it sends along, the proxy appends the stranger's own address."""
    rules = AddressRules([SENDER], ["10.0.0.0/16"])
    assert not rules.allows(STRANGER, lies)
    assert not rules.allows(PROXY, [*lies, STRANGER])
    assert not rules.allows(PROXY, [", ".join([*lies, STRANGER])])
