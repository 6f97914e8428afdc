"""The part of the sandbox's page about webhooks, in a real browser, used as a tester uses it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook

from papsms_async.sandbox import SandboxRequest, WebhookConfig
from papsms_async.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/hook/s3cret-path"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
NARROW = {"viewport": {"width": 375, "height": 740}, "is_mobile": True, "has_touch": True}


def expect(what: Any) -> Any:
    """Return Playwright's assertions: each waits for what it asserts."""
    from playwright.async_api import expect as expecting

    return expecting(what)


class Receiver:
    """Somebody's receiver: keeps what comes, and answers what the test wants."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, with the path that is a secret."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Keep a request and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append((request.path, headers, await request.read()))
        return web.Response(status=self.status)


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """Serve a receiver."""
    made = Receiver()
    server = web.Server(made.handle)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    yield made
    listener.close()
    await server.shutdown(0.05)


def buy(server: SandboxServer, service: str = "test-instant") -> str:
    """Buy a number at once and return its activation's id."""
    asked = SandboxRequest(
        "POST",
        "/api/v1/numbers/purchase",
        {"Authorization": "Bearer sandbox"},
        json.dumps({"country": "us", "service": service}).encode(),
    )
    server.engine.handle(asked, time.time())
    return next(reversed(server.engine.activations))


def posts(page: Page) -> Any:
    """Return the lines of the log."""
    return page.locator("#post-rows tr")


async def test_a_person_sets_where_webhooks_go(
    server: SandboxServer, receiver: Receiver, visit: Any
) -> None:
    """An SMS of the page is posted to the URL given there, signed, and shown with its answer."""
    page = await visit(f"{server.url}/#/webhooks")
    await expect(page.locator("#webhook-none")).to_be_visible()
    await expect(page.locator("#posts-note")).to_have_text("None so far.")
    form = page.locator("#webhook-form")
    await form.get_by_role("button", name="Post there").click()  # without a URL nothing is sent
    assert server.engine.webhooks.config is None
    await form.get_by_label("URL").fill(receiver.url)
    await form.get_by_label("Signing secret").fill(SECRET)
    await form.get_by_label("Attempts").fill("2")
    await form.get_by_label("First pause").fill("0.05")
    await form.get_by_label("Body").select_option("camel")
    await form.get_by_label("Body").press("Enter")
    await form.get_by_role("button", name="Post there").click()
    facts = page.locator("#webhook-facts")
    await expect(facts).to_contain_text(f"http://127.0.0.1:{receiver.port}/...")
    for words in ("yes, with whsec_…", "up to 2", "0.05 s", "activationId"):
        await expect(facts).to_contain_text(words)
    await expect(page.locator("#webhook-change")).to_be_focused()
    bought = buy(server)
    await expect(posts(page)).to_have_count(1)
    for words in ("SMS", bought, "1", "204", "ms"):
        await expect(posts(page).first).to_contain_text(words)
    [(path, headers, body)] = receiver.received
    told = Webhook(SECRET).verify(body, headers)
    sms = server.engine.activations[bought]
    assert (path, told["activationId"], told["code"]) == (PATH, bought, sms.sms_code)
    receiver.status = 503
    server.engine.deliver(time.time(), activation_id=bought)
    await expect(posts(page)).to_have_count(3)
    assert [" ".join(line.split()[-4:-2]) for line in await posts(page).all_inner_texts()] == [
        "2 503",
        "1 503",
        "1 204",
    ]
    await expect(page.locator("#posts-note")).to_have_text("3 posts since the start.")
    await posts(page).first.get_by_role("link", name=bought).click()
    await expect(page.locator("#detail-title")).to_be_focused()
    await page.go_back()
    # What was left empty stays as it was, the secret too.
    await page.get_by_text("Change it").click()
    await expect(form.get_by_label("URL")).to_have_value("")
    await form.get_by_label("Attempts").fill("1")
    await form.get_by_role("button", name="Post there").click()
    await expect(facts).to_contain_text("up to 1")
    config = server.engine.webhooks.config
    assert config is not None
    assert (config.url, config.secret, config.attempts) == (receiver.url, SECRET, 1)
    await page.get_by_role("button", name="Post no more").click()
    await expect(page.locator("#webhook-none")).to_be_visible()
    assert server.engine.webhooks.config is None


async def test_faults_of_webhooks_are_switched(
    server: SandboxServer, receiver: Receiver, visit: Any
) -> None:
    """Each kind by itself, while what is planned goes on; what it does is in the log."""
    page = await visit(f"{server.url}/#/webhooks")
    form = page.locator("#webhook-faults-form")
    await expect(form).to_be_hidden()
    server.engine.set_webhook(WebhookConfig(url=receiver.url, faults="late=500#1"))
    await expect(page.locator("#webhook-planned")).to_have_text("")
    bought = buy(server)
    await expect(page.locator("#webhook-planned")).to_contain_text("1 planned, next in 8 min")
    faults = page.locator("#webhook-faults-card .faults li")
    await expect(faults).to_contain_text("struck 1 of 1 event")

    async def switch_on(kind: str, when: str, *, detail: str = "", first: str = "1") -> None:
        await form.get_by_label("What happens").select_option(kind)
        if detail:
            await form.get_by_label("Detail").fill(detail)
        await form.get_by_label("When").select_option(when)
        if when == "call":
            await form.get_by_label("Event", exact=True).fill(first)
        await form.get_by_role("button", name="Switch on").click()

    await switch_on("loss", "call")
    await switch_on("duplicate", "call", detail="2", first="2")
    await switch_on("forged_path", "always", detail="0.01")
    await expect(faults).to_have_count(4)
    assert [await line.locator("code").inner_text() for line in await faults.all()] == [
        "late=500#1",
        "loss#1",
        "duplicate=2#2",
        "forged_path=0.01",
    ]
    await expect(page.locator("#fault-count")).to_have_text("4 in force")
    await expect(page.locator("#fault-names")).to_contain_text("webhook loss#1")
    server.engine.deliver(time.time(), activation_id=bought)
    await expect(posts(page).first).to_contain_text("lost")
    await expect(posts(page).first).to_contain_text("not posted")
    server.engine.deliver(time.time(), activation_id=bought)
    await expect(posts(page)).to_have_count(4)  # one lost, one true, two more
    await expect(posts(page).filter(has_text="duplicate")).to_have_count(2)
    buy(server, "test-never")
    await expect(posts(page).filter(has_text="forged path")).to_have_count(1)
    assert PATH not in receiver.received[-1][0]
    await expect(page.locator("#webhook-planned")).to_contain_text("1 planned")
    await page.get_by_role("button", name="Switch off loss#1").click()
    await expect(faults).to_have_count(3)
    await form.get_by_role("button", name="Switch all off").click()
    await expect(page.locator("#fault-count")).to_have_text("None")
    await switch_on("late", "always", detail="long")
    await expect(form.get_by_role("alert")).to_contain_text("is not a number of seconds")
    assert server.engine.webhooks.planned == 1


async def test_a_post_without_an_answer_says_why(server: SandboxServer, visit: Any) -> None:
    """That nobody listens is told where a status would stand."""
    closed = "http://127.0.0.1:1/hook"
    server.engine.set_webhook(WebhookConfig(url=closed, attempts=1))
    page = await visit(f"{server.url}/#/webhooks")
    buy(server)
    await expect(posts(page).first).to_contain_text("connection refused")


async def test_no_secret_is_shown(server: SandboxServer, receiver: Receiver, visit: Any) -> None:
    """Neither page nor stream nor any answer has the path or the secret, also a mistyped one."""
    page = await visit(server.url)
    answers: list[str] = []
    await page.keyboard.press("3")
    form = page.locator("#webhook-form")
    for secret in (SECRET + "!", SECRET):
        await form.get_by_label("URL").fill(receiver.url)
        await form.get_by_label("Signing secret").fill(secret)
        assert await form.get_by_label("Signing secret").get_attribute("type") == "password"
        async with page.expect_response("**/_sandbox/webhook") as answered:
            await form.get_by_role("button", name="Post there").click()
        answers.append(await (await answered.value).text())
    await expect(page.locator("#webhook-none")).to_be_hidden()
    # A secret in a wrong field is not repeated either.
    faults = page.locator("#webhook-faults-form")
    await faults.get_by_label("What happens").select_option("late")
    await faults.get_by_label("Detail").fill(SECRET)
    await faults.get_by_role("button", name="Switch on").click()
    await expect(faults.get_by_role("alert")).to_contain_text("whsec_…")
    await faults.get_by_label("Detail").fill("")
    buy(server)
    await expect(posts(page)).to_have_count(1)
    shown = await page.evaluate(
        "document.documentElement.outerHTML"
        " + [...document.querySelectorAll('input')].map((input) => input.value).join()"
    )
    fresh = await page.evaluate(
        "new Promise((resolve) => { const source = new EventSource('/_sandbox/events');"
        " source.addEventListener('news', (event) => { source.close(); resolve(event.data); }); })"
    )
    assert '"posts"' in fresh
    for text in (shown, fresh, *answers):
        for secret in (SECRET, SECRET.lower(), SECRET.removeprefix("whsec_"), PATH):
            assert secret not in text


async def test_all_is_done_by_keyboard(
    server: SandboxServer, receiver: Receiver, visit: Any
) -> None:
    """A URL is set, a fault switched on and off, and the log reached without a mouse."""
    page = await visit(server.url)
    keys = page.keyboard
    await keys.press("3")
    await expect(page.get_by_role("heading", name="Where they go")).to_be_visible()
    await page.locator("#webhook-change").focus()
    await keys.press("Tab")
    await keys.type(receiver.url)
    await keys.press("Enter")
    await expect(page.locator("#webhook-change")).to_be_focused()
    kind = page.locator("#webhook-faults-form select[name=kind]")
    await expect(kind).to_be_visible()  # once the page has heard of the URL
    await kind.focus()
    # Not by its first letters: those count as one word only if they are typed fast enough.
    for _ in range(await kind.locator("option").count()):
        if await kind.input_value() == "reorder":
            break
        await keys.press("ArrowDown")
    for _ in range(3):
        await keys.press("Tab")
    await keys.press("Space")
    faults = page.locator("#webhook-faults-card .faults li")
    await expect(faults).to_contain_text("reorder")
    off = faults.get_by_role("button")
    await off.focus()
    buy(server)
    await expect(faults).to_contain_text("struck 1 of 1 event")
    await expect(off).to_be_focused()  # its counts have changed meanwhile
    await keys.press("Enter")
    await expect(faults).to_have_count(0)
    await keys.press("4")
    await expect(page.locator("nav [aria-current]")).to_have_text("Controls")


async def test_a_screen_reader_is_told_of_webhooks(
    server: SandboxServer, receiver: Receiver, visit: Any
) -> None:
    """Landmarks, headings and names say what the eye sees."""
    server.engine.set_webhook(WebhookConfig(url=receiver.url, faults="loss#2"))
    page = await visit(f"{server.url}/#/webhooks")
    buy(server)
    await expect(posts(page)).to_have_count(1)
    await expect(page.locator("#view-webhooks")).to_match_aria_snapshot(
        """
        - region "Webhooks":
          - heading "Webhooks" [level=2]
          - region "Where they go":
            - heading "Where they go" [level=3]
            - paragraph:
              - button "Post no more"
          - region "What goes wrong":
            - list "Faults of webhooks in force":
              - listitem:
                - button "Switch off loss#2"
            - combobox "What happens"
            - combobox "When"
            - paragraph:
              - button "Switch on"
          - region "Latest posts":
            - region "Table of posts":
              - table:
                - rowgroup:
                  - row "Time Post Attempt Answer"
                - rowgroup:
                  - row /SMS \\d+ 1 204/
        """
    )


async def test_a_reset_forgets_the_posts(
    server: SandboxServer, receiver: Receiver, visit: Any
) -> None:
    """After a reset webhooks are as after the start, and the log is empty."""
    page = await visit(f"{server.url}/#/webhooks")
    server.engine.set_webhook(WebhookConfig(url=receiver.url))
    buy(server)
    await expect(posts(page)).to_have_count(1)
    server.engine.reset()
    await expect(page.locator("#webhook-none")).to_be_visible()
    await expect(posts(page)).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_webhooks_fit_a_phone(
    server: SandboxServer, receiver: Receiver, visit: Any, scheme: str
) -> None:
    """Nothing is wider than 375 px or cut off, nothing too pale, and buttons are big enough."""
    page = await visit(f"{server.url}/#/webhooks", color_scheme=scheme, **NARROW)
    width = "document.scrollingElement.scrollWidth"
    await expect(page.locator("#webhook-none")).to_be_visible()
    assert await page.evaluate(width) == 375
    faults = "loss#3,late=0-999999#2,duplicate=10#4,forged_path=999999#9999999-99999999"
    server.engine.set_webhook(WebhookConfig(url=receiver.url, secret=SECRET, faults=faults))
    bought = buy(server)
    for _ in range(2):
        server.engine.deliver(time.time(), activation_id=bought)
    await expect(posts(page)).to_have_count(2)
    await expect(page.locator("#webhook-form")).to_be_visible()
    assert await page.evaluate(width) == 375
    wider = await page.evaluate(
        "[...document.querySelectorAll('#view-webhooks *')]"
        ".filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > 375)"
        ".map((one) => one.outerHTML)"
    )
    assert wider == []
    assert await page.evaluate(PALEST) >= 4.5
    heights = await page.evaluate(
        "[...document.querySelectorAll('#view-webhooks button')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.offsetHeight)"
    )
    assert min(heights) >= 34


PALEST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((value) => value / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const says = (element) => [...element.childNodes]
    .some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  return Math.min(...[...document.querySelectorAll('#view-webhooks *')]
    .filter((one) => one.checkVisibility() && says(one) && !one.closest('option'))
    .map((one) => {
      const [a, b] = [light(rgba(getComputedStyle(one).color)), light(ground(one))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }));
}"""
"""The least contrast of any text that is seen, as WCAG 2 has it."""
