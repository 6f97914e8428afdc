# ruff: noqa: E501, RUF001 - texts as they are sent, in many scripts
"""Finding the code in the text of an SMS."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papsms_async.sandbox.code_extraction import find_code

FOUND = [
    ("Your WhatsApp code: 847291", "847291"),
    ("Your WhatsApp code is 123-456. Don't share this code with others", "123456"),
    (
        "WhatsApp code 123-456\n\nOr tap on this link to verify your account:\nv.whatsapp.com/123456",
        "123456",
    ),
    ("G-123456 is your Google verification code.", "123456"),
    ("FB-12345 is your Facebook confirmation code", "12345"),
    ("Use 123 456 to verify your account", "123456"),
    (
        "Telegram code: 12345\n\nYou can also tap on this link to log in:\nhttps://t.me/login/12345",
        "12345",
    ),
    ("<#> 123456 is your Uber code. Never share. qlRnn4A1sbt", "123456"),
    ("<#> Your ExampleApp code is: 123ABC78\n\nFA+9qCX9VSu", "123ABC78"),
    ("Your code: X7K9P2", "X7K9P2"),
    ("Enter AB12CD as your login code", "AB12CD"),
    ("Ihr Code lautet 4711. Gültig 10 Minuten.", "4711"),
    ("Ваш код: 55123. Никому не сообщайте", "55123"),
    ("Код подтверждения 1234", "1234"),
    ("【Acme】您的验证码是123456，5分钟内有效。", "123456"),
    ("代码：8812", "8812"),
    ("認証コードは 654321 です", "654321"),
    ("[카카오] 인증번호는 482910 입니다.", "482910"),
    ("رمز التحقق الخاص بك هو ٤٨٢٩١٠", "482910"),
    ("आपका ओटीपी 123456 है", "123456"),
    ("Tu código es 9981", "9981"),
    ("Seu código de verificação é 123456", "123456"),
    ("Il tuo codice: 4455", "4455"),
    ("Votre code de vérification est le 123456", "123456"),
    (
        "Never share your OTP. OTP for txn of Rs 5000.00 on card ending 1234 is 998877. Valid for 10 min.",
        "998877",
    ),
    ("Happy 2024! Your code is 5512", "5512"),
    ("Your 2024 Acme verification code is 5512", "5512"),
    ("Your code is 2024", "2024"),
    ("123456", "123456"),
    ("4711", "4711"),
    ("Use 123456, not 9", "123456"),
    ("Acme: 8842", "8842"),
    ("Your code is 12-34-56", "123456"),
    ("Your code is 1 2 3 4 5 6", "123456"),
    ("Code: 1234 5678", "12345678"),
    ("Your Acme PIN is 0042", "0042"),
    ("123456 is your code.\n\n@example.com #123456", "123456"),
    ("Your order 778899 is confirmed. Your pickup code: 4412", "4412"),
    ("Ваш код: 123456 · 验证码 · رمز 🔑", "123456"),
    (
        "Twilio Verify: your Acme verification code is: 123456. Don't share this code with anyone; our employees will never ask for the code.",
        "123456",
    ),
    ("Your one-time password is 8 3 9 1 2 0", "839120"),
    ("Kodunuz: 123456", "123456"),
    ("Mã xác nhận của bạn là 123456", "123456"),
    ("Your Amazon verification code is: AB-1234", "1234"),
    ("Use code SAVE20 to save 20%", "SAVE20"),
    ("Your code:\n\n7391", "7391"),
    ("This is your code. 739112", "739112"),
    ("１２３４５６ があなたのコードです", "123456"),
    ("1️⃣2️⃣3️⃣4️⃣ is your code", "1234"),
    ("Your code is 123456.", "123456"),
    ("Your code is (123456)", "123456"),
    ("Your code is *123456*", "123456"),
    ("code=4821", "4821"),
    ("Security code: K9-4F2Z", "K9-4F2Z"),
    ("Valid for 1000 seconds: code 7733", "7733"),
    ("PIN:1111", "1111"),
    ("OTP is 123456 for your transaction of INR 12345 at 10:22:33 on 12/04/24", "123456"),
    ("Please verify your login: 4821", "4821"),
    ("Your token: 998123", "998123"),
    ("Acme: verify with 4821 please", "4821"),
    ("Please try 123456", "123456"),
    ("Twitter login is 55213", "55213"),
    ("Lyft: your confirmation 1234", "1234"),
    ("8568 la ma kich hoat tai khoan Acme", "8568"),
    ("Acme ma xac thuc: 445566", "445566"),
    ("【Acme】546054短信登录验证码，5分钟内有效", "546054"),
    ("رمز یکبار مصرف 57758 \nمهلت استفاده دو دقیقه است.", "57758"),
]
NONE = [
    "Your transfer is done. Reference code 12345678.",
    "Save 20% with promo code SPRING24",
    "Our zip code is 941077",
    "See acme.1234567/help",
    "Welcome to Acme 2024!",
    "Your order 12345678 has shipped",
    "Call us at +1 415 555 0123",
    "Call 415-555-0123 or (415) 555-0123",
    "Pay $1234 now",
    "You have 1500 USD in your account",
    "See https://example.com/123456",
    "Your verification code was sent to +14155550123",
    "Use 12-34",
    "Meet me at 1500 Main St",
    "Your appointment is on 2026-04-19 at 14:35",
    "Balance 1,234.56",
    "Your code is ready",
    "Hello from your application",
    "",
    "Flight LH1234 confirmed",
    "Reply STOP to 55512",
    "Your login code: 60,342 ",
    "Your table for 2024 is confirmed",
]


@pytest.mark.parametrize(("text", "code"), FOUND)
def test_a_code_is_found(text: str, code: str) -> None:
    """Codes as services send them, in many languages, among other numbers."""
    assert find_code(text) == code


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_code(text: str) -> None:
    """Years, prices, phone numbers, links, orders, dates and words are no codes."""
    assert find_code(text) is None


BEFORE = [
    "Your Acme code is {}.",
    "Acme: {} is your verification code",
    "Ваш код: {}",
    "验证码{}，请勿泄露",
]
DECOYS = [
    "",
    " It expires in 1000 seconds.",
    " See https://acme.example/v/77665544",
    " Not you? Call +1 415 555 0123.",
    " (c) Acme 2024",
    " Sent on 2026-04-19 at 14:35.",
    " Fee $12.50.",
    " Your card ending 9911.",
]


@given(
    st.sampled_from(BEFORE),
    st.sampled_from(DECOYS),
    st.integers(4, 8).flatmap(lambda n: st.text("0123456789", min_size=n, max_size=n)),
)
def test_any_digits_are_found_among_decoys(text: str, decoy: str, code: str) -> None:
    """Whatever the digits, they are found where a word says that they are the code."""
    assert find_code(text.format(code) + decoy) == code
    assert find_code(decoy.strip() + " " + text.format(code)) == code


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """No text is too odd, and what is found is plain ASCII."""
    code = find_code(text)
    assert code is None or re.fullmatch(r"[A-Za-z0-9-]{3,12}", code)


@pytest.mark.parametrize("part", ["a", "1", "1,", "A1", "1 ", "code 1234 ", "a@", "\n", "ﷺ", "#@ "])
def test_a_long_text_takes_no_time(part: str) -> None:
    """However long and odd a text is, reading it takes a fraction of a second."""
    start = time.process_time()
    find_code(part * 100_000)
    assert time.process_time() - start < 1.0
