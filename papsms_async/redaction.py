"""What may be kept of an answer that could not be used: its shape, without its secrets."""

from __future__ import annotations

import re

MAX_EXCERPT = 200
"""Characters that an excerpt has at most."""

_WINDOW = 1_500
"""Characters of an answer that are looked at; more would only be cut off again."""

# Unicode digits too: \d of a text pattern matches them. Separators as people write numbers.
_DIGITS = re.compile(r"\+?\d(?:[ \t().\-/]{0,3}\d){2,}")
# A JSON text value with its key; also one that is cut off before its closing quote.
_MEMBER = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:\s*)"((?:[^"\\]|\\.)*)("|\\?$)')
_AFTER_SECRET_WORD = re.compile(
    r"(?i)\b(bearer|basic|authori[sz]ation|api[ _-]?key|key|token|secret|password|passwd|pwd|code"
    r"|cookie|session|otp|pin|phone|number|sms|text)"
    r"((?:\s+(?:is|was|for)\b)?[\"'\s]*[:=][\"'\s]*|\s+(?:is|was)\s+[\"']?|\s+[\"']|\s+(?=\S*\d))"
    r"([^\s\"'<>,;&]+)"
)
_CREDENTIALS = re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"'<>,;&]+")
_RUN = re.compile(r"[A-Za-z0-9_\-+/=.~]{8,}")
_MAIL = re.compile(r"[^\s@\"'<>]{1,64}@[^\s@\"'<>]{1,100}")
_WORD = re.compile(r"[A-Z]+(?:[_.\-/][A-Z]+)*|[A-Za-z]?[a-z]+(?:[_.\-/]?[A-Za-z]?[a-z]+)*")

_TELLING = frozenset(
    ("error", "error_code", "code", "type", "status", "message", "msg", "detail", "title", "reason")
)
_PERSONAL = re.compile(r"(?i)\"[^\"]*(?:sms|text|phone|otp|pin|number)[^\"]*\"\s*:")


def excerpt(body: bytes | str) -> str:
    """Return the redacted beginning of ``body``: at most `MAX_EXCERPT` characters on one line.

    Runs of three and more digits, JSON texts whose key does not belong to an error, words that
    follow "key", "token", "code" and the like, and long runs of letters that are no words are
    blanked: phone numbers, codes, message texts and API keys are among them.
    """
    text = body[:_WINDOW].decode("utf-8", "replace") if isinstance(body, bytes) else body[:_WINDOW]
    text = "".join(char if char.isprintable() else " " for char in text)
    # Beside a number or an SMS even "code" and "message" are personal.
    telling = frozenset({"status"}) if _PERSONAL.search(text) else _TELLING
    text = _MEMBER.sub(lambda match: _member(match, telling), text)
    text = _MAIL.sub("***", text)
    text = _CREDENTIALS.sub(r"\1 ***", text)
    text = _AFTER_SECRET_WORD.sub(_after_secret_word, text)
    text = _RUN.sub(_run, text)
    text = _DIGITS.sub("###", text)
    return re.sub(r" {2,}", " ", text).strip()[:MAX_EXCERPT]


def _member(match: re.Match[str], telling: frozenset[str]) -> str:
    key, colon, value, end = match.groups()
    if key.lower() not in telling:
        value = "***"
    return f'"{key}"{colon}"{value}{end}'


def _after_secret_word(match: re.Match[str]) -> str:
    word, link, value = match.groups()
    # "code": "NO_NUMBERS" is what an excerpt is read for.
    if word.lower() == "code" and re.fullmatch(r"[A-Z]+(?:_[A-Z]+)+", value):
        return match[0]
    return f"{word}{link}***"


def _run(match: re.Match[str]) -> str:
    run = match[0]
    if any(char.isdigit() for char in run):
        return "***"
    return run if len(run) <= 40 and _WORD.fullmatch(run.strip("._-/=+~")) else "***"
