"""An application whose sign-up is to be tested: it sends a code by SMS, and asks for it.

It knows nothing of PapSMS. It sends its SMS as Twilio's REST API has it; under test its provider's
address is that of the sandbox.
"""

from __future__ import annotations

import base64
import html
import secrets
from urllib.parse import parse_qs

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

PAGE = "<!doctype html><meta charset=utf-8><title>Corner Shop</title><h1>{title}</h1>{body}"
NUMBER_FORM = """<form method=post action=/code>
<label>Phone number <input name=phone type=tel required></label> <button>Send me a code</button>
</form>"""
CODE_FORM = """<form method=post action=/sign-up><input name=phone type=hidden value="{phone}">
<label>Code <input name=code inputmode=numeric required></label> <button>Sign up</button>
</form>"""


def signup_service(
    provider_url: str, *, account: str, token: str, sender: str = "+15005550006"
) -> Starlette:
    """Return the application.

    Args:
        provider_url: Where the SMS provider is, ``https://api.twilio.com`` for the real one.
        account: The account there.
        token: Its token.
        sender: The application's own phone number.
    """
    codes: dict[str, str] = {}
    members: set[str] = set()

    async def home(_: Request) -> HTMLResponse:
        return page("Join the Corner Shop", NUMBER_FORM)

    async def send_code(request: Request) -> HTMLResponse:
        phone = (await form(request))["phone"]
        codes[phone] = f"{secrets.randbelow(10**6):06d}"
        text = f"{codes[phone]} is your code for the Corner Shop. Tell it to nobody."
        if not await send(phone, text):
            return page("No code could be sent", NUMBER_FORM, status=502)
        return page("Enter the code", CODE_FORM.format(phone=html.escape(phone)))

    async def sign_up(request: Request) -> HTMLResponse:
        given = await form(request)
        expected = codes.pop(given["phone"], "")
        if not secrets.compare_digest(given["code"].encode(), expected.encode()):
            return page("That was not the code", NUMBER_FORM, status=400)
        members.add(given["phone"])
        return page("Welcome", f"You are member {len(members)}.")

    async def send(phone: str, text: str) -> bool:
        url = f"{provider_url}/2010-04-01/Accounts/{account}/Messages.json"
        message = {"From": sender, "To": phone, "Body": text}
        key = base64.b64encode(f"{account}:{token}".encode()).decode()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Basic {key}"}) as session,
            session.post(url, data=message) as answer,
        ):
            return answer.status == 201

    routes = [
        Route("/", home),
        Route("/code", send_code, methods=["POST"]),
        Route("/sign-up", sign_up, methods=["POST"]),
    ]
    return Starlette(routes=routes)


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form."""
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}


def page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page."""
    return HTMLResponse(PAGE.format(title=title, body=body), status_code=status)
