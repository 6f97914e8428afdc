"""What is on offer: countries, services, prices. Everything here is fixed; nothing is drawn."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

import attrs

MIN_PRICE = Decimal("0.10")
MAX_PRICE = Decimal("3.00")
DEFAULT_BASE_PRICE = Decimal("0.50")
"""Price before the country's factor of a service that is not listed."""

_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}", re.ASCII)
_CENT = Decimal("0.01")


@attrs.frozen
class CountryOnOffer:
    """A country in which numbers are sold.

    Attributes:
        code: Two letters, lower case.
        name: Name in English.
        dial_code: Country calling code, digits only.
        factor: What prices are multiplied with.
    """

    code: str
    name: str
    dial_code: str
    factor: Decimal


_COUNTRY_TABLE: dict[str, str] = {
    # factor of the price: code, calling code, name
    "1.60": "ch 41 Switzerland|no 47 Norway|dk 45 Denmark|jp 81 Japan|sg 65 Singapore"
    "|is 354 Iceland|lu 352 Luxembourg|ae 971 United Arab Emirates|qa 974 Qatar",
    "1.25": "de 49 Germany|fr 33 France|au 61 Australia|nz 64 New Zealand|at 43 Austria"
    "|be 32 Belgium|fi 358 Finland|ie 353 Ireland|it 39 Italy|kr 82 South Korea|il 972 Israel"
    "|hk 852 Hong Kong|tw 886 Taiwan|sa 966 Saudi Arabia|kw 965 Kuwait",
    "1.00": "us 1 United States|ca 1 Canada|gb 44 United Kingdom|nl 31 Netherlands|se 46 Sweden"
    "|es 34 Spain|pt 351 Portugal|gr 30 Greece|cy 357 Cyprus|mt 356 Malta|tr 90 Turkey",
    "0.70": "pl 48 Poland|cz 420 Czechia|sk 421 Slovakia|hu 36 Hungary|ro 40 Romania"
    "|bg 359 Bulgaria|hr 385 Croatia|si 386 Slovenia|ee 372 Estonia|lv 371 Latvia|lt 370 Lithuania"
    "|rs 381 Serbia|cl 56 Chile|uy 598 Uruguay|cr 506 Costa Rica|pa 507 Panama|my 60 Malaysia"
    "|za 27 South Africa|br 55 Brazil|mx 52 Mexico|ar 54 Argentina",
    "0.45": "ua 380 Ukraine|md 373 Moldova|ge 995 Georgia|am 374 Armenia|az 994 Azerbaijan"
    "|kz 7 Kazakhstan|uz 998 Uzbekistan|kg 996 Kyrgyzstan|al 355 Albania|ba 387 Bosnia"
    "|mk 389 North Macedonia|me 382 Montenegro|co 57 Colombia|pe 51 Peru|ec 593 Ecuador"
    "|bo 591 Bolivia|py 595 Paraguay|do 1 Dominican Republic|gt 502 Guatemala|hn 504 Honduras"
    "|ni 505 Nicaragua|sv 503 El Salvador|th 66 Thailand|vn 84 Vietnam|ph 63 Philippines"
    "|id 62 Indonesia|ma 212 Morocco|tn 216 Tunisia|dz 213 Algeria|eg 20 Egypt|jo 962 Jordan",
    "0.25": "in 91 India|pk 92 Pakistan|bd 880 Bangladesh|lk 94 Sri Lanka|np 977 Nepal"
    "|kh 855 Cambodia|la 856 Laos|mn 976 Mongolia|ng 234 Nigeria|gh 233 Ghana|ke 254 Kenya"
    "|tz 255 Tanzania|ug 256 Uganda|cm 237 Cameroon|ci 225 Ivory Coast|sn 221 Senegal"
    "|et 251 Ethiopia|zm 260 Zambia|mz 258 Mozambique|mg 261 Madagascar",
}

_SERVICE_TABLE: dict[str, str] = {
    # price before the country's factor: services
    "2.40": "binance coinbase kraken revolut wise n26 monzo bybit okx",
    "1.50": "paypal venmo cashapp stripe payoneer skrill airbnb booking openai anthropic",
    "1.10": "telegram google gmail youtube googlevoice apple icloud",
    "0.80": "whatsapp facebook instagram threads messenger twitter x tiktok snapchat linkedin",
    "0.60": "microsoft outlook hotmail azure amazon aws ebay etsy walmart aliexpress alibaba"
    " shopee lazada shein temu uber lyft bolt grab gojek doordash deliveroo glovo wolt",
    "0.45": "signal viber line wechat kakaotalk imo skype zoom discord slack reddit pinterest"
    " tumblr quora medium vk ok yandex mailru proton protonmail yahoo aol zoho fastmail tutanota",
    "0.35": "tinder bumble hinge badoo okcupid grindr happn netflix spotify disneyplus hulu twitch"
    " steam epicgames blizzard riotgames roblox playstation xbox nintendo ea ubisoft rockstar",
    "0.25": "github gitlab bitbucket dropbox box notion figma canva trello asana adobe autodesk"
    " craigslist olx gumtree leboncoin wallapop vinted subito avito kleinanzeigen indeed upwork"
    " fiverr freelancer nike adidas zara hm ikea starbucks mcdonalds burgerking kfc dominos"
    " blablacar foodpanda zomato swiggy flipkart paytm phonepe truecaller zalo naver coupang",
    "0.15": "other any duolingo strava myfitnesspal meetup couchsurfing tripadvisor trivago yelp"
    " foursquare deezer soundcloud bandcamp imgur flickr vimeo dailymotion weibo qq baidu bilibili",
}


def _countries() -> dict[str, CountryOnOffer]:
    found: dict[str, CountryOnOffer] = {}
    for factor, rows in _COUNTRY_TABLE.items():
        for row in rows.split("|"):
            code, dial_code, name = row.split(" ", 2)
            found[code] = CountryOnOffer(code, name, dial_code, Decimal(factor))
    return dict(sorted(found.items()))


COUNTRIES: dict[str, CountryOnOffer] = _countries()
"""Countries on offer by code, in the order of their codes."""

SERVICES: dict[str, Decimal] = dict(
    sorted(
        (name, Decimal(base)) for base, names in _SERVICE_TABLE.items() for name in names.split()
    )
)
"""Listed services and their prices before the country's factor."""

OUT_OF_STOCK = CountryOnOffer("zz", "Out of stock", "999", Decimal(1))
"""Stands for the countries ``zz`` and ``xx``, which are accepted and never have a number."""

_OUT_OF_STOCK_CODES = frozenset({"zz", "xx"})


def find_country(code: object) -> CountryOnOffer | None:
    """Return the country of that code in any case, or ``None`` if there is no such country."""
    if not isinstance(code, str):
        return None
    key = code.strip().lower()
    return OUT_OF_STOCK if key in _OUT_OF_STOCK_CODES else COUNTRIES.get(key)


def find_service(name: object) -> str | None:
    """Return the service's name in lower case, or ``None`` if it is no name of a service.

    Any word of up to 64 letters, digits and ``_ . + -`` is a service: the real catalogue has
    thousands, and a list of them would be out of date at once.
    """
    if not isinstance(name, str):
        return None
    key = name.strip().lower()
    return key if _SERVICE.fullmatch(key) else None


def price(service: str, country: CountryOnOffer) -> Decimal:
    """Return what a number costs in US dollars, 0.10 to 3.00, whole cents."""
    amount = SERVICES.get(service, DEFAULT_BASE_PRICE) * country.factor
    return min(MAX_PRICE, max(MIN_PRICE, amount.quantize(_CENT, ROUND_HALF_UP)))


def cheapest(country: CountryOnOffer) -> Decimal:
    """Return the lowest price of any service in that country, in US dollars."""
    return price("any", country)
