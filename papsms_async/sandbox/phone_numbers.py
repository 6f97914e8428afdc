"""Phone numbers that belong to nobody.

United States and Canada: 555-0100 to 555-0199 of each area code. United Kingdom: 07700 900000
to 900999. France: 06 39 98 0000 to 9999. Everywhere else: the calling code followed by zeros,
which no numbering plan assigns to a subscriber.

Source: the ranges that the NANPA, Ofcom and ARCEP set aside for film and fiction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs

from .catalogue import CountryOnOffer

_AREA_CODES = {
    "us": "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231"
    " 234 239 240 248 251 252 253 254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308"
    " 309 310 312 313 314 315 316 317 318 319 320 321 323 330 334 336 337 339 347 351 352 360 361"
    " 386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 424 425 432 434 435 440"
    " 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520 530"
    " 540 541 551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608 609"
    " 610 612 614 615 616 617 618 619 620 623 626 630 631 636 641 646 650 651 660 661 662 678 682"
    " 701 702 703 704 706 707 708 712 713 714 715 716 717 718 719 720 724 727 731 732 734 740 754"
    " 757 760 763 765 770 772 773 774 775 781 785 786 801 802 803 804 805 806 808 810 812 813 814"
    " 815 816 817 818 828 830 831 832 843 845 847 848 850 856 857 858 859 860 862 863 864 865 870"
    " 901 903 904 906 907 908 909 910 912 913 914 915 916 917 918 919 920 925 928 931 936 937 940"
    " 941 947 949 951 952 954 956 970 971 972 973 978 979 980 985 989",
    "ca": "204 226 236 249 250 289 306 343 365 403 416 418 431 437 438 450 506 514 519 579 581 587"
    " 604 613 639 647 705 709 778 780 807 819 867 873 902 905",
    "do": "809 829 849",
}

_STRIDE = 104_729
"""A prime, so walking any range in steps of it visits each number once."""


@attrs.frozen
class _Range:
    size: int
    write: Callable[[int], str]


def _range_of(country: CountryOnOffer) -> _Range:
    areas = _AREA_CODES.get(country.code)
    if areas is not None:
        codes = areas.split()
        return _Range(len(codes) * 100, lambda n: f"+1{codes[n // 100]}55501{n % 100:02d}")
    if country.code == "gb":
        return _Range(1_000, lambda n: f"+447700900{n:03d}")
    if country.code == "fr":
        return _Range(10_000, lambda n: f"+3363998{n:04d}")
    return _Range(1_000_000, lambda n: f"+{country.dial_code}000{n:06d}")


class _CountryPool:
    def __init__(self, country: CountryOnOffer, seed: int) -> None:
        self._range = _range_of(country)
        self._start = seed
        self._taken = 0
        self._freed: deque[str] = deque()

    def take(self) -> str:
        if self._taken >= self._range.size and self._freed:
            return self._freed.popleft()
        # Past the range with all of it open nothing is left but to repeat.
        index = (self._start + self._taken * _STRIDE) % self._range.size
        self._taken += 1
        return self._range.write(index)

    def give_back(self, number: str) -> None:
        self._freed.append(number)


class NumberPool:
    """Hands out numbers so that none repeats among open activations while its range lasts.

    Numbers that were given back come again only when all others were used, oldest first.
    Every call is O(1).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._pools: dict[str, _CountryPool] = {}

    def take(self, country: CountryOnOffer) -> str:
        """Return a free number of that country in E.164 form, for example ``+14155550123``."""
        pool = self._pools.get(country.code)
        if pool is None:
            pool = self._pools[country.code] = _CountryPool(country, self._seed)
        return pool.take()

    def give_back(self, country_code: str, number: str) -> None:
        """Say that a number is no longer in use."""
        self._pools[country_code].give_back(number)
