# ruff: noqa: RUF001 - words in many scripts
"""The verification code in the text of an SMS, if there is one.

How it is found:

1. What looks like a code and is none is blanked out: links, addresses, phone numbers, prices,
   dates, times, durations, the last digits of a card.
2. Everything that could be a code is listed: 4 to 8 digits, also in groups (``123 456``,
   ``12-34-56``, ``1 2 3 4``) or behind a brand's letters (``G-123456``), and letters mixed with
   digits. ``@example.com #123456`` in a last line is a code that the sender has marked as one.
3. Each gets points for what it looks like and for the words around it: a word for *code* close by,
   in one of many languages, counts most; a year, or a word such as *order*, counts against it. The
   best one wins, the first of equals, if it has enough.

Letters mixed with digits are a code only right beside a word for it. Without any such word in the
text, six digits, or digits that are nearly all of the text, are one.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator

import attrs

LONGEST_TEXT = 1600
"""Characters that are looked at; no SMS is longer."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0f\ufeff\u20e3]"
)

_MONEY = "[$€£¥₹₽₩₺₪₫₴₦]|\\b(?:usd|eur|gbp|inr|rub|cny|jpy|brl|mxn|chf|pln|uah|rs)\\b\\.?"
_UNITS = (
    "seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|min|sek|sekunden|minuten|stunden|tage"
    "|minutos?|segundos?|horas?|minuti|secondi|minuut|minuty|minut|мин(?:ут[аыу]?)?|секунд[аы]?"
    "|час(?:а|ов)?|分钟|分鐘|分間|秒|小时|小時|phút|분|초|دقائق|دقيقة|मिनट|dakika|menit|minutter"
)
_NO_CODES = re.compile(
    "|".join(
        (
            r"(?:https?://|www\.)\S+",
            r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]+",
            r"\b(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,12}/\S*",
            r"\+\d[\d ().\-]{5,18}\d",  # phone numbers
            r"\(\d{3}\)\s?\d{3}-\d{4}\b",
            r"(?<![\d-])(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}(?!\d)",
            rf"(?:{_MONEY})\s?\d[\d.,]*",
            rf"(?<![\d.,])\d[\d.,]{{0,15}}\s?(?:{_MONEY}|dollars|euros|руб|元|円|원)",
            r"(?<![\d,.])\d[\d,]{0,15}\.\d{1,2}(?![\d.])|(?<!\d)\d{1,3}(?:,\d{3})+(?!\d)",
            r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)|(?<!\d)\d{1,2}[./]\d{1,2}[./]\d{2,4}(?!\d)",
            r"(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?!\d)",
            r"\d{1,3}(?:\.\d{1,3}){3}",
            r"(?:©|\(c\)|copyright)[^\n\d]{0,30}(?:19|20)\d{2}",
            r"\b(?:reference|ref|merchant|promo(?:tion)?|discount|coupon|voucher|zip|postal|country"
            r"|area|error|branch|sort|swift|qr) codes?(?: is| no)?[ :#]*[\w-]{0,12}",
            rf"(?<!\d)\d{{1,8}}\s?(?:{_UNITS})(?![a-z])",
            r"(?<!\d)\d{1,8}\s?%",
            r"(?:[*x•…]{2,8}|ending(?: in)?|ends with)\s?\d{2,4}\b",
        )
    ),
    re.IGNORECASE,
)

_WORDS = re.compile(
    "|".join(
        (
            r"\b(?:pass|security|access|login|auth)?codes?\b|\bpass ?words?\b|\bpasscode\b",
            r"\botp\b|\bpins?\b|\bm?tan\b|\b2fa\b|\bone[- ]time\b",
            r"\w*codes?\b|\bcódigos?\b|\bcodigos?\b|\bcodice\b|\bclave\b|\bcontraseña\b|\bsenha\b",
            r"\bkod\w*|\bkód\w*|\bkoodi\w*|\bkode\w*|\bkennwort\b|\bpasswort\b|\bwachtwoord\b",
            r"\bcod\b|\bşifre\w*|\bmã\b|\bma (?:so|xac|kich|otp)\b|\bκωδικ\w+|\bkods\b|\bsandi\b",
            r"\bкод\w*|\bпарол\w+",
            "验证码|驗證碼|校验码|代码|代碼|动态码|密码|認証|コード|暗証番号|パスワード|인증|코드|비밀번호",
            "رمز|كود|کد|קוד|รหัส|कोड|ओटीपी|কোড|குறியீடு",
        )
    ),
    re.IGNORECASE,
)
_HINTS = re.compile(
    r"\bverif\w+|\bconfirm\w*|\btoken\b|\blog ?in\b|\bsign[- ]?in\b|\bauthenti\w+|\bbestätig\w+"
    r"|\bподтвер\w+|\bvérifi\w+|\bdoğrula\w*|\bxác (?:nhận|minh)|验证|驗證|確認|확인|تحقق|אימות",
    re.IGNORECASE,
)
_AGAINST = re.compile(
    r"(?:\border|\bref(?:erence)?|\baccount|\bacct|\bcard|\bticket|\binvoice|\bbooking|\bcase"
    r"|\btransaction|\btxn|\btracking|\bflight|\broom|\bcall|\btext|\bsms|\breply|\bto|\bfrom"
    r"|\breservation|\bpolicy|\bzip|\bext(?:ension)?|\bsuite|\bbox|\bid|\bcustomer"
    r"|\bversion|\bbestellung|\bpedido|\bзаказ\w*|订单|訂單)"
    r"(?: (?:no|nr|number|id|is))?[\s.:#№]*$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[。！？]|\n\s*\n")

_CANDIDATES = re.compile(
    r"(?P<brand>(?<![A-Za-z0-9-])[A-Z]{1,3}-(?P<branded>\d{4,8})(?![A-Za-z0-9]))"
    r"|(?P<groups>(?<![A-Za-z0-9.,-])(?:\d{3}[ -]\d{3}|\d{2}(?:[ -]\d{2}){1,3}|\d{4}[ -]\d{4}"
    r"|\d{3}[ -]\d{4}|\d(?:[ -]\d){3,7})(?![A-Za-z0-9]|[ -]\d))"
    r"|(?P<digits>(?<![A-Za-z0-9])(?<!\d[.,])\d{4,8}(?![A-Za-z0-9/]|[.,]\d))"
    r"|(?P<mixed>(?<![A-Za-z0-9+/=])(?=[A-Z-]{0,9}\d)(?=[0-9-]{0,9}[A-Z])[A-Z0-9]{2,8}"
    r"(?:-[A-Z0-9]{2,5})?(?![A-Za-z0-9+/=]))"
)
_MARKED = re.compile(r"(?:^|\n)@\S+\s+#(?P<code>[A-Za-z0-9-]{3,12})(?:\s+@\S+)?\s*$")

_ENOUGH = 3
_NEAR = 30
"""Characters between a word for *code* and the code, at most, for the two to belong together."""
_BESIDE = 16


@attrs.frozen
class _Candidate:
    start: int
    end: int
    code: str
    points: int
    mixed: bool


def find_code(text: str) -> str | None:
    """Return the code in a text, ``None`` where none is recognised.

    Digits are returned as ASCII and without what groups them: ``"123 456"`` gives ``"123456"``.
    """
    plain = _plain(text[:LONGEST_TEXT])[:LONGEST_TEXT]
    marked = _MARKED.search(plain)
    if marked is not None:
        return marked["code"]
    blanked = _NO_CODES.sub(lambda match: "\x00" * len(match[0]), plain)
    words, hints = _spans(_WORDS, blanked), _spans(_HINTS, blanked)
    candidates = list(_candidates(blanked))
    # A word belongs neither to what is beyond the end of a sentence nor beyond another candidate.
    ends = sorted(
        [match.start() for match in _SENTENCE_END.finditer(blanked)]
        + [candidate.start for candidate in candidates]
    )
    best, most = None, _ENOUGH - 1
    for candidate in candidates:
        points = candidate.points + _context(candidate, blanked, words, ends)
        if not candidate.mixed:
            points += _hinted(candidate, hints, ends)
        if points > most:
            best, most = candidate.code, points
    return best


def _plain(text: str) -> str:
    """Write digits of all scripts and widths as ASCII, and drop what nobody sees."""
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text
    )


def _candidates(text: str) -> Iterator[_Candidate]:
    for match in _CANDIDATES.finditer(text):
        code, points, mixed = match[0], 0, False
        if match["brand"]:
            code, points = match["branded"], 6
        elif match["groups"]:
            code = re.sub("[ -]", "", code)
            points = 3 if re.fullmatch(r"\d{3}[ -]\d{3}", match[0]) else -1
        elif match["digits"]:
            points = 3 if len(code) == 6 else 2
            if re.fullmatch(r"(?:19|20)\d\d", code):
                points = -1
        else:
            if len(code) < 4:
                continue
            mixed = True
        yield _Candidate(match.start(), match.end(), code, points, mixed)


def _context(
    candidate: _Candidate, text: str, words: list[tuple[int, int]], ends: list[int]
) -> int:
    """Return the points that the surroundings of a candidate are worth."""
    points = 0
    gap, broken = _gap_before(candidate, words, ends)
    beside = gap <= _BESIDE and not broken
    if gap <= _NEAR:
        points = 6 if beside else 3 if broken else 5
    gap, broken = _gap_after(candidate, words, ends)
    if gap <= _NEAR and not broken:
        points = max(points, 5 if gap <= _BESIDE else 4)
        beside = beside or gap <= _BESIDE
    if _AGAINST.search(text[max(0, candidate.start - 24) : candidate.start]):
        points -= 6
    if candidate.mixed:
        return points if beside else -9
    if not points and words:
        points = 1
    if not words and _rest_is_short(candidate, text):
        points += 3
    return points


def _hinted(candidate: _Candidate, hints: list[tuple[int, int]], ends: list[int]) -> int:
    """Return what words are worth that often, but not only, stand with a code."""
    for gap, broken in (_gap_before(candidate, hints, ends), _gap_after(candidate, hints, ends)):
        if gap <= _NEAR and not broken:
            return 2
    return 1 if hints else 0


def _gap_before(
    candidate: _Candidate, words: list[tuple[int, int]], ends: list[int]
) -> tuple[float, bool]:
    """Return how far the word before is, and whether a sentence ends between."""
    index = bisect_left(words, (candidate.start, 0)) - 1
    if index < 0:
        return float("inf"), True
    end = words[index][1]
    return candidate.start - end, _ends_between(ends, end, candidate.start)


def _gap_after(
    candidate: _Candidate, words: list[tuple[int, int]], ends: list[int]
) -> tuple[float, bool]:
    """Return how far the word after is, and whether a sentence ends between."""
    index = bisect_left(words, (candidate.end, 0))
    if index >= len(words):
        return float("inf"), True
    start = words[index][0]
    return start - candidate.end, _ends_between(ends, candidate.end, start)


def _ends_between(ends: list[int], start: int, end: int) -> bool:
    index = bisect_left(ends, start)
    return index < len(ends) and ends[index] < end


def _rest_is_short(candidate: _Candidate, text: str) -> bool:
    rest = text[: candidate.start] + " " + text[candidate.end :]
    return len(rest) <= 60 and len(re.findall(r"\w+", rest)) <= 2


def _spans(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    return [match.span() for match in pattern.finditer(text)]
