"""The frame, the style sheet for light and dark, and the notes of the money report's page."""

from __future__ import annotations

NOTES = """<section><h2>How it is counted</h2><ul>
<li>Days are days in UTC, of the instant when a purchase was about to be sent.</li>
<li>Spend is net of refunds that are made or expected; a price that is not known counts as the
worst price.</li>
<li>Unknown: the answer to the purchase was lost, so it was charged at most. It is never sent
again.</li>
<li>Delivery rate: of the numbers that were completed, cancelled or have expired, the share that an
SMS came for.</li>
<li>Time to code: from the answer to the purchase to the instant that the service gives for the
SMS.</li>
</ul></section>"""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c1c1e;--quiet:#56565c;--line:#dcdce0;--card:#f5f5f7;
--good:#1f6fb8;--back:#7a7f87;--open:#a86400;--bad:#b3261e;--none:#b9a9c9}
@media (prefers-color-scheme:dark){:root{--bg:#17181b;--fg:#ececef;--quiet:#a9abb2;--line:#3a3b40;
--card:#222327;--good:#6cb2f5;--back:#8d929b;--open:#f0b45a;--bad:#ff8a80;--none:#66587a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:20px 16px 48px;max-width:1080px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif}
h1{margin:0;font-size:26px}h2{margin:0 0 10px;font-size:18px}
section{margin-top:36px}
.quiet{color:var(--quiet);font-size:13px;margin:4px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;margin:20px 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 12px}
.tiles dt{font-size:13px;color:var(--quiet)}.tiles dd{margin:0;font-size:22px;font-weight:600}
.tiles dd.quiet{font-size:12px;font-weight:400}
.pair{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:24px;align-items:start}
@media (max-width:760px){.pair{grid-template-columns:minmax(0,1fr)}}
.scroll{overflow:auto;max-height:340px;border:1px solid var(--line);border-radius:8px}
.scroll:focus-visible{outline:2px solid var(--good);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th[scope=row],thead th:first-child{text-align:left;font-weight:500}
th.long{white-space:normal;overflow-wrap:anywhere;min-width:130px}
thead th{position:sticky;top:0;background:var(--card);font-weight:600;white-space:normal;
vertical-align:bottom;line-height:1.25}
tbody tr:last-child>*{border-bottom:0}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 8px;padding:0;list-style:none;
font-size:13px}
.legend svg{vertical-align:-1px}
.plot{display:block;overflow:visible}
text{fill:var(--fg);font:12px system-ui,sans-serif}text.axis{fill:var(--quiet)}
text.label{font-weight:500;font-size:13px}
.grid{stroke:var(--line)}.track{fill:var(--card)}
.c-good{fill:var(--good)}.c-back{fill:var(--back)}.c-open{fill:var(--open)}.c-bad{fill:var(--bad)}
.c-none{fill:var(--none)}
@media print{.scroll{max-height:none;overflow:visible}section{break-inside:avoid}}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Money report</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""
