"""The sandbox's page in a real browser, used as a tester uses it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web

from papsms_async import ActivationManager, PapSMSClient, PapSMSError, RateLimit
from papsms_async.sandbox import SandboxActivation, SandboxConfig, SandboxEngine
from papsms_async.sandbox.server import SandboxServer

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


def expect(what: Any) -> Any:
    """Return Playwright's assertions: each waits for what it asserts."""
    from playwright.async_api import expect as expecting

    return expecting(what)


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: SandboxServer) -> AsyncIterator[PapSMSClient]:
    """A client of the sandbox."""
    limit = RateLimit(6000, 60)
    async with PapSMSClient("sandbox", base_url=server.base_url, rate_limit=limit) as made:
        yield made


async def buy(
    client: PapSMSClient, server: SandboxServer, service: str = "whatsapp", country: str = "us"
) -> SandboxActivation:
    """Buy a number through the client."""
    bought = await client.purchase(service, country)
    return server.engine.activations[bought.activation_id]


def row(page: Page, bought: SandboxActivation) -> Any:
    """Return a number's row in the list."""
    return page.locator(f"#numbers a[data-id='{bought.activation_id}']")


# ---- what the page is for ----


async def test_a_tester_sends_the_code(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """A number that a program buys shows up, and an SMS sent in the page reaches the program."""
    page = await visit(server.url)
    await expect(page.get_by_role("heading", name="No numbers yet")).to_be_visible()
    async with ActivationManager(client) as manager:
        async with manager.activate("telegram", "gb") as activation:
            waiting = asyncio.create_task(activation.wait_for_sms())
            await page.get_by_role("link", name="telegram").click()
            await page.get_by_label("Send an SMS").fill("Telegram code 31 337 or 424242")
            await page.get_by_role("button", name="Send").click()
            sms = await asyncio.wait_for(waiting, 10)
            assert (sms.code, sms.full_text) == ("424242", "Telegram code 31 337 or 424242")
            await expect(page.locator("#detail .pill")).to_have_text("Received")
            await expect(page.locator("#detail mark")).to_have_text("424242")
    await expect(page.locator("#detail .pill")).to_have_text("Completed")
    await expect(page.locator("#balance")).to_have_text(f"${server.engine.balance:.2f}")
    assert await page.evaluate("performance.getEntriesByType('navigation').length") == 1


async def test_what_happens_elsewhere_is_shown(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """Purchases, SMS, finishes, money and requests of any client, without a reload."""
    page = await visit(server.url)
    first = await buy(client, server)
    second = await buy(client, server, "test-instant", "de")
    await expect(row(page, first)).to_contain_text("Waiting")
    await expect(row(page, second)).to_contain_text(second.sms_code or "")
    await expect(page.locator("#states")).to_have_text("1 waiting · 1 received")
    await expect(page.locator("#spent")).to_have_text(f"${first.cost + second.cost:.2f} spent")
    await expect(page.locator("#quota")).to_have_text("2 of 6000")
    assert re.fullmatch(r"19:5\d|20:00", await row(page, first).locator(".left").inner_text())
    await client.cancel(first.activation_id)
    await expect(row(page, first)).to_contain_text("Cancelled")
    await client.complete(second.activation_id)
    await expect(page.locator("#states")).to_have_text("2 ended")
    await page.get_by_role("link", name="Requests").click()
    lines = page.locator("#request-rows tr")
    await expect(lines).to_have_count(4)
    await expect(lines.first).to_contain_text("finish")
    await expect(page.locator("#requests-note")).to_contain_text("4 requests")


async def test_messages_to_nobody_are_shown(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """What an application sends to a number that nobody holds is told of, live, as text."""
    page = await visit(server.url)
    await expect(page.get_by_role("heading", name="No numbers yet")).to_be_visible()
    lost = page.locator("#lost")
    await expect(lost).to_be_hidden()
    async with ClientSession() as session:
        for n in range(22):
            message = {"to": "+1 415 555 0199", "text": f"<b>Acme</b> code {n:04d}"}
            async with session.post(f"{server.url}/sandbox/sms", json=message) as answer:
                assert (await answer.json())["status"] == "undelivered"
    await lost.get_by_text("22 messages undelivered; the latest 20 are here").click()
    await expect(lost.get_by_role("listitem")).to_have_count(20)
    first = lost.get_by_role("listitem").first
    await expect(first).to_contain_text("+1 415 555 0199")
    await expect(first).to_contain_text("<b>Acme</b> code 0021")
    await buy(client, server)
    await expect(page.locator("#numbers li")).to_have_count(1)
    await expect(lost).to_be_visible()
    await page.keyboard.press("2")
    await expect(lost).to_be_hidden()


async def test_an_sms_is_delayed_and_dropped(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """One with a delay is on its way until it comes, or never does once it is dropped."""
    bought = await buy(client, server)
    page = await visit(f"{server.url}/#/number/{bought.activation_id}")
    await page.get_by_label("Arrives after").fill("600")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".bubble.coming")).to_contain_text("arrives in")
    await expect(row(page, bought)).to_contain_text("SMS in")
    await expect(page.locator("#toast")).to_contain_text("arrives in 10 min")
    await page.get_by_role("button", name="Drop").click()
    await expect(page.locator(".bubble")).to_have_count(0)
    await expect(row(page, bought)).to_contain_text("No SMS on its way")
    assert (await client.status(bought.activation_id)).sms is None
    await page.get_by_label("Arrives after").fill("0.3")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".bubble:not(.coming) mark")).to_have_text(re.compile(r"\d{6}"))
    assert (await client.status(bought.activation_id)).sms is not None
    await page.get_by_label("Arrives after").fill("2000")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#detail > .problem")).to_contain_text("can receive that SMS")


@pytest.mark.parametrize(
    ("button", "state"), [("Cancel the number", "cancelled"), ("Let it expire", "expired")]
)
async def test_the_service_ends_a_number(
    server: SandboxServer, client: PapSMSClient, visit: Any, button: str, state: str
) -> None:
    """A waiting number is cancelled or expires at a click, and is refunded."""
    bought = await buy(client, server)
    page = await visit(f"{server.url}/#/number/{bought.activation_id}")
    await page.get_by_role("button", name=button).click()
    await expect(page.locator("#detail .pill")).to_have_text(state.title())
    await expect(page.locator("#detail form")).to_be_hidden()
    assert (await client.status(bought.activation_id)).status == state
    assert server.engine.balance == Decimal(1000)


async def test_faults_are_switched_on_and_off(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """What is switched on strikes clients at once, and no more when it is switched off."""
    page = await visit(f"{server.url}/#/controls")
    form = page.locator("#fault-form")
    await form.get_by_label("Route").select_option("purchase")
    await form.get_by_label("What happens").select_option("server_error")
    await form.get_by_label("Detail").fill("503")
    await form.get_by_label("When").select_option("calls")
    await form.get_by_label("Call", exact=True).fill("2")
    await form.get_by_label("Last call").fill("3")
    await expect(page.locator("#fault-notation")).to_have_text("purchase:server_error=503#2-3")
    await form.get_by_role("button", name="Switch on").click()
    await expect(page.locator("#faults li")).to_contain_text("struck 0 of 0 calls")
    await expect(page.locator("#fault-count")).to_have_text("1 in force")
    await client.purchase("whatsapp")
    with pytest.raises(PapSMSError):
        await client.purchase("whatsapp")
    await expect(page.locator("#faults li")).to_contain_text("struck 1 of 2 calls")
    await page.get_by_role("button", name="Switch off purchase:server_error=503#2-3").click()
    await expect(page.locator("#fault-count")).to_have_text("None")
    await client.purchase("whatsapp")
    await form.get_by_label("Route").select_option("connect")
    await expect(page.locator("#fault-notation")).to_contain_text("connect:refuse")
    await form.get_by_label("When").select_option("share")
    await form.get_by_label("Probability").fill("0.0")
    await form.get_by_role("button", name="Switch on").click()
    await expect(page.locator("#faults li")).to_contain_text("connect:refuse@0.0")
    await form.get_by_label("Route").select_option("status")
    await form.get_by_label("What happens").select_option("slow")
    await form.get_by_label("Detail").fill("long")
    await form.get_by_role("button", name="Switch on").click()
    await expect(form.get_by_role("alert")).to_contain_text("does not take the value 'long'")


async def test_the_limit_is_set_and_all_begins_again(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """A limit strikes at once; a reset asks first, and a seed brings the same again."""
    page = await visit(f"{server.url}/#/controls")
    form = page.locator("#limit-form")
    await expect(form.get_by_label("Requests")).to_have_value("6000")
    await form.get_by_label("Requests").fill("1")
    await form.get_by_label("counted as").select_option("fixed-window")
    await form.get_by_role("button", name="Set the limit").click()
    await expect(page.locator("#limit-now")).to_have_text("1/60s:fixed-window")
    statuses = [await ask(server) for _ in range(2)]
    assert 429 in statuses
    await expect(page.locator("#quota")).to_contain_text("of 1")
    await expect(page.locator("#refused")).to_contain_text("refused with 429")
    again = page.locator("#reset-form")
    await again.get_by_label("Seed").fill("23")
    await again.get_by_role("button", name="Reset").click()
    await page.get_by_role("button", name="Keep them").click()
    assert server.engine.seed == 7
    await again.get_by_role("button", name="Reset").click()
    await page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    await expect(page.locator("#limit-now")).to_have_text("6000/60s:sliding-log")
    await expect(page.locator("#quota")).to_have_text("0 of 6000")
    assert server.engine.seed == 23


async def ask(server: SandboxServer) -> int:
    """Ask the service for something without the client, which would wait at a limit."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        b"GET /api/v1/countries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Authorization: Bearer sandbox\r\n\r\n"
    )
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_the_empty_inbox_teaches(server: SandboxServer, visit: Any) -> None:
    """What it says to type works as it stands, and its button buys a number to play with."""
    page = await visit(server.url, permissions=["clipboard-read", "clipboard-write"])
    await page.get_by_role("button", name="Copy the command for curl").click()
    await expect(page.locator("#toast")).to_have_text("Copied")
    command = await page.evaluate("navigator.clipboard.readText()")
    process = await asyncio.create_subprocess_shell(
        command + " -sS", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert b'"success": true' in output
    await expect(page.get_by_role("heading", name="No numbers yet")).to_be_hidden()
    await expect(page.locator("#numbers li")).to_have_count(1)
    server.engine.reset()
    await page.get_by_role("button", name="Buy one now").click()
    await expect(page.locator("#detail .pill")).to_have_text("Waiting")


# ---- finding one's way ----


async def test_numbers_are_found(server: SandboxServer, client: PapSMSClient, visit: Any) -> None:
    """By digits of the number, by service, by words of a message, and by how they stand."""
    page = await visit(server.url)
    first = await buy(client, server, "paypal", "gb")
    second = await buy(client, server, "uber", "us")
    server.engine.deliver(time.time(), activation_id=second.activation_id, text="Bonjour 8833")
    lines = page.locator("#numbers li")
    await expect(page.locator("#states")).to_have_text("1 waiting · 1 received")
    search = page.get_by_label("Search")
    pretty = await row(page, first).locator(".number").inner_text()
    for words, found in (
        ("paypal", first),
        ("UBER bonj", second),
        ("8833", second),
        (pretty, first),
        (first.phone_number[-6:], first),
        (first.activation_id, first),
    ):
        await search.fill(words)
        await expect(lines).to_have_count(1)
        await expect(row(page, found)).to_be_visible()
    await search.fill("nobody")
    await expect(page.locator("#nothing")).to_have_text("Nothing matches “nobody”.")
    await search.fill("")
    await expect(lines).to_have_count(2)
    await client.cancel(first.activation_id)
    await page.get_by_role("radio", name="Open").check()
    await expect(lines).to_have_count(1)
    await expect(row(page, second)).to_be_visible()
    await page.get_by_role("radio", name="Ended").check()
    await expect(row(page, first)).to_be_visible()
    await expect(lines).to_have_count(1)


async def test_the_keyboard_is_enough(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """From the list to the number, an SMS on its way, and back, without a mouse."""
    older, newer = await buy(client, server), await buy(client, server, "signal")
    page = await visit(server.url)
    keys = page.keyboard
    await expect(row(page, newer)).to_be_visible()
    await keys.press("j")
    await expect(row(page, newer)).to_be_focused()
    await keys.press("ArrowDown")
    await expect(row(page, older)).to_be_focused()
    await keys.press("k")
    await keys.press("End")
    await expect(row(page, older)).to_be_focused()
    assert await page.locator("#numbers a[tabindex='0']").count() == 1
    await keys.press("Enter")
    await expect(page.locator("#detail-title")).to_be_focused()
    await expect(row(page, older)).to_have_attribute("aria-current", "true")
    await keys.press("s")
    await expect(page.get_by_label("Send an SMS")).to_be_focused()
    await keys.type("code 1234, typed with s, j and ?")
    await keys.press("Control+Enter")
    await expect(page.locator("#detail mark")).to_have_text("1234")
    await expect(page.locator("#announcements")).to_contain_text("code 1234")
    await keys.press("Escape")
    await expect(row(page, older)).to_be_focused()
    await keys.press("/")
    await expect(page.get_by_label("Search")).to_be_focused()
    await keys.type("signal")
    await expect(page.locator("#numbers li")).to_have_count(1)
    await keys.press("ArrowDown")
    await expect(row(page, newer)).to_be_focused()
    await keys.press("2")
    await expect(page.get_by_role("heading", name="Latest requests")).to_be_visible()
    await keys.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.get_by_label("Shortcuts of a single key are on").uncheck()
    await keys.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await keys.press("1")
    await expect(page.get_by_role("heading", name="Latest requests")).to_be_visible()


async def test_a_screen_reader_is_told_what_there_is(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """Landmarks, headings and names say what the eye sees."""
    bought = await buy(client, server, "github", "us")
    page = await visit(f"{server.url}/#/number/{bought.activation_id}")
    await expect(page.locator("#detail-title")).to_be_visible()
    await expect(page.locator("body")).to_match_aria_snapshot(
        """
        - banner:
          - heading "PapSMS sandbox" [level=1]
          - navigation "Views":
            - link "Inbox"
            - link "Requests"
            - link "Webhooks"
            - link "Controls"
          - status: Live
          - link "API"
          - 'button "Theme: system"'
          - button "Keyboard shortcuts"
        - region "Account and limit":
          - heading "Balance" [level=2]
          - meter "Requests in 60 s"
        - main:
          - region "Inbox":
            - searchbox "Search numbers, services and messages"
            - group "Which numbers":
              - radio "All" [checked]
            - list "Numbers":
              - listitem:
                - link /\\+1 201 555 01\\d\\d github · US No SMS on its way Waiting/
            - article "Number":
              - heading /\\+1 201 555 01/ [level=2]
              - button "Copy the number"
              - textbox "Send an SMS"
              - spinbutton "Arrives after so many seconds"
              - button "Send"
        """
    )


# ---- how it looks ----


async def test_it_is_dark_or_light(server: SandboxServer, visit: Any) -> None:
    """As the system is, until the person chooses; the choice is kept."""
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await (await visit(server.url, color_scheme="light")).evaluate(ground)
    page = await visit(server.url, color_scheme="dark")
    dark = await page.evaluate(ground)
    assert light != dark
    button = page.get_by_role("button", name="Theme")
    seen = []
    for _ in range(3):
        await button.click()
        seen.append((await button.inner_text(), await page.evaluate(ground)))
    assert seen == [("Theme: dark", dark), ("Theme: light", light), ("Theme: system", dark)]
    await page.keyboard.press("t")
    await page.keyboard.press("t")
    await page.reload()
    assert await page.evaluate(ground) == light


async def test_a_phone_is_wide_enough(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """Nothing is wider than 360 px, whatever is shown, and every button is there."""
    bought = await buy(client, server, "x" * 64, "fr")
    for _ in range(10):
        await buy(client, server)
    long = "https://a.example/" + "y" * 300 + " 123456"
    server.engine.deliver(time.time(), activation_id=bought.activation_id, text=long)
    page = await visit(server.url, **PHONE)
    await expect(page.locator("#numbers li")).to_have_count(11)
    width = "document.scrollingElement.scrollWidth"

    async def check() -> None:
        assert await page.evaluate(width) == 360

    await check()
    await row(page, bought).tap()
    await expect(page.locator("#detail mark")).to_have_text("123456")
    await check()
    await expect(page.locator("#numbers")).to_be_hidden()
    await page.get_by_label("Send an SMS").fill("on the go 778899")
    await page.get_by_role("button", name="Send").tap()
    await expect(page.locator("#detail mark").last).to_have_text("778899")
    await page.get_by_role("link", name="All numbers").tap()
    await expect(page.locator("#numbers")).to_be_visible()
    for view in ("Requests", "Webhooks", "Controls"):
        await page.get_by_role("link", name=view).tap()
        await expect(page.locator("nav [aria-current]")).to_have_text(view)
        await check()
    server.engine.reset()
    await page.get_by_role("link", name="Inbox").tap()
    await expect(page.get_by_role("heading", name="No numbers yet")).to_be_visible()
    await check()


# ---- what must not happen ----

PROBE = (
    "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
    "\" onmouseover=\"document.title='hit'\" {{7*7}} javascript:document.title='hit' 123456"
)


async def test_texts_stay_texts(server: SandboxServer, client: PapSMSClient, visit: Any) -> None:
    """What an SMS holds is shown to the letter and never taken for markup."""
    bought = await buy(client, server)
    server.engine.deliver(time.time(), activation_id=bought.activation_id, text=PROBE)
    server.engine.deliver(
        time.time(), activation_id=bought.activation_id, text=PROBE, code=PROBE, delay=500
    )
    page = await visit(f"{server.url}/#/number/{bought.activation_id}")
    await expect(page.locator(".bubble .words").first).to_have_text(PROBE)
    await page.get_by_label("Search").fill("<img")
    await expect(page.locator("#numbers li")).to_have_count(1)
    await page.get_by_label("Search").fill("<b>nothing</b>")
    await expect(page.locator("#nothing")).to_have_text("Nothing matches “<b>nothing</b>”.")
    await page.goto(f"{server.url}/#/number/{'<img src=x onerror=alert(1)>'}")
    await expect(page.locator("#detail")).to_contain_text("not known here")
    assert await page.locator("main img, main script, main [onmouseover]").count() == 0
    assert await page.title() == "PapSMS sandbox"


async def test_nothing_of_the_page_could_run_a_text(server: SandboxServer, visit: Any) -> None:
    """Even a mistake in the page would not be enough: the policy stands in between."""
    page = await visit(server.url, strict=False)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))",
        "eval('1')",
        "await fetch('http://elsewhere.example/')",
    ):
        # Not at once: what the test itself evaluates may do more than the page.
        refused = await page.evaluate(
            "() => new Promise((resolve) => setTimeout(async () => {"
            f" try {{ {attempt}; resolve(false); }} catch {{ resolve(true); }} }}))"
        )
        assert refused, attempt


async def test_other_sites_can_do_nothing(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """Neither a page of another origin nor one that had its name pointed here."""
    bought = await buy(client, server)

    async def serve_evil(_: web.Request) -> web.Response:
        text = f"""<title>trying</title><iframe name=f></iframe>
        <form method=post target=f enctype=text/plain action="{server.url}/_sandbox/reset">
        <input name='{{"seed":1,"x":"' value='"}}'></form>
        <script>(async () => {{
          const got = [];
          for (const [path, options] of [
            ['reset', {{method: 'POST', mode: 'no-cors', body: '{{}}'}}],
            ['reset', {{method: 'POST', body: '{{}}'}}],
            ['faults', {{method: 'DELETE'}}],
            ['activations', {{}}], ['events', {{}}],
          ]) {{
            try {{ got.push((await fetch('{server.url}/_sandbox/' + path, options)).type); }}
            catch {{ got.push('refused'); }}
          }}
          document.querySelector('iframe').onload = () => {{ document.title = got.join(' '); }};
          document.forms[0].submit();
        }})();</script>"""
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", serve_evil)
    runner = web.AppRunner(app, shutdown_timeout=0.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        page = await visit(f"http://evil.example:{runner.addresses[0][1]}", strict=False)
        await expect(page).to_have_title("opaque refused refused refused refused")
    finally:
        await runner.cleanup()
    assert list(server.engine.activations) == [bought.activation_id]
    rebound = await visit(f"http://evil.example:{server.port}/", strict=False)
    await expect(rebound.locator("body")).to_contain_text("--allow-host")
    tried = await rebound.evaluate(
        "fetch('/_sandbox/reset', {method: 'POST', body: '{}'}).then((answer) => answer.status)"
    )
    assert tried == 403
    assert list(server.engine.activations) == [bought.activation_id]


# ---- how much it bears ----


async def test_a_thousand_numbers_are_no_trouble(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """A thousand purchases and SMS in a burst: all counted, few drawn, any found at once."""
    page = await visit(server.url)
    last = await buy(client, server)
    await expect(row(page, last)).to_be_visible()
    await page.evaluate(
        "() => { window.longest = 0; let before = performance.now();"
        " const step = () => { const at = performance.now();"
        " longest = Math.max(longest, at - before); before = at; requestAnimationFrame(step); };"
        " step(); }"
    )
    for _ in range(999):
        last = server.engine.activations[buy_directly(server)]
    await expect(page.locator("#count")).to_have_text("1000")
    assert await page.locator("#numbers li").count() == 100
    await page.get_by_label("Search").fill(last.phone_number)
    await expect(page.locator("#numbers li")).to_have_count(1)
    await page.get_by_label("Search").fill("")
    await page.get_by_role("button", name="Show 100 of 900 more").click()
    await expect(page.locator("#numbers li")).to_have_count(200)
    assert await page.evaluate("longest") < 1000


def buy_directly(server: SandboxServer) -> str:
    """Buy a number without a connection, at once; its SMS is there."""
    from papsms_async.sandbox import SandboxRequest

    before = len(server.engine.activations)
    server.engine.handle(
        SandboxRequest(
            "POST",
            "/api/v1/numbers/purchase",
            {"Authorization": "Bearer sandbox"},
            b'{"country": "us", "service": "test-instant"}',
        ),
        time.time(),
    )
    assert len(server.engine.activations) == before + 1
    return next(reversed(server.engine.activations))


async def test_a_hidden_tab_lets_go_of_the_stream(
    server: SandboxServer, client: PapSMSClient, visit: Any
) -> None:
    """So that many tabs can be open at once; when it is seen again it knows what it missed."""
    page = await visit(server.url)
    await expect(page.locator("#connection")).to_have_text("Live")
    first = await buy(client, server)
    await expect(row(page, first)).to_be_visible()
    watchers = server.engine._watchers
    before = len(watchers)
    show = (
        "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, writable: true});"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    await page.evaluate(show, True)
    async with asyncio.timeout(5):
        while len(watchers) == before:
            await asyncio.sleep(0)
    missed = await buy(client, server)
    await expect(row(page, missed)).to_be_hidden()
    async with page.expect_request(lambda asked: "/_sandbox/events?since=" in asked.url):
        await page.evaluate(show, False)
    await expect(row(page, missed)).to_be_visible()
    await expect(row(page, first)).to_be_visible()


async def test_it_finds_the_sandbox_again(visit: Any) -> None:
    """When the sandbox stops the page says so; when it is back the page is, without a reload."""
    engine = SandboxEngine(SandboxConfig(limit="none"))
    server = SandboxServer(engine)
    await server.start()
    port = server.port
    page = await visit(server.url, strict=False)
    await expect(page.locator("#connection")).to_have_text("Live")
    buy_directly(server)
    await expect(page.locator("#numbers li")).to_have_count(1)
    await server.close()
    await expect(page.locator("#connection")).to_have_text("Not connected")
    async with SandboxServer(SandboxEngine(seed=99), port=port) as anew:
        await expect(page.locator("#connection")).to_have_text("Live")
        await expect(page.get_by_role("heading", name="No numbers yet")).to_be_visible()
        bought = buy_directly(anew)
        await expect(page.locator(f"a[data-id='{bought}']")).to_be_visible()
