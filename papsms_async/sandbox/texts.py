"""What services write into their SMS."""

from __future__ import annotations

_BRANDS = {
    "whatsapp": "WhatsApp",
    "tiktok": "TikTok",
    "youtube": "YouTube",
    "linkedin": "LinkedIn",
    "paypal": "PayPal",
    "openai": "OpenAI",
    "github": "GitHub",
    "icloud": "iCloud",
    "wechat": "WeChat",
    "x": "X",
}


def ordinary_text(service: str, code: str) -> str:
    """Write what a service sends with a code."""
    brand = _BRANDS.get(service) or service.replace("_", " ").replace("-", " ").title()
    return f"Your {brand} code: {code}"
