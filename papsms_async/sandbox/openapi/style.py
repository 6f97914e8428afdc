"""The frame and the style sheet of the readable page, for light and dark, wide and narrow."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c1c1e;--quiet:#56565c;--line:#dcdce0;--card:#f5f5f7;
--link:#1f5fa8;--get:#1f6fb8;--post:#1d7a3a;--put:#8a5a00;--delete:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#17181b;--fg:#ececef;--quiet:#a9abb2;--line:#3a3b40;
--card:#222327;--link:#8ab8f5;--get:#6cb2f5;--post:#6fcf8b;--put:#f0b45a;--delete:#ff8a80}}
*{box-sizing:border-box}
html{scroll-padding-top:12px}
body{margin:0 auto;padding:20px 16px 64px;max-width:1180px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{margin:0;font-size:26px}h1 small{font-size:14px;font-weight:400;color:var(--quiet)}
h2{margin:40px 0 8px;font-size:21px}h3{margin:0;font-size:16px}
h4{margin:14px 0 2px;font-size:14px;color:var(--quiet)}
p{margin:6px 0;max-width:76ch}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--link);
outline-offset:2px}
code,pre{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.quiet{color:var(--quiet);font-size:14px}
nav ul{list-style:none;margin:0;padding:0}nav>ul>li{margin-top:10px}
nav li li{font-size:13px}nav li li a{display:block;padding:2px 0;text-decoration:none}
nav b{display:inline-block;width:4.4em;font-size:11px}
main{min-width:0}
b.get{color:var(--get)}b.post,b.good{color:var(--post)}b.put{color:var(--put)}
b.delete,b.bad{color:var(--delete)}
article{margin:16px 0;padding:14px 16px;border:1px solid var(--line);border-radius:8px}
article:target{border-color:var(--link)}
.answer{margin-top:6px;padding-top:6px;border-top:1px solid var(--line)}
pre{margin:6px 0;padding:10px 12px;background:var(--card);border-radius:6px}
pre code{white-space:pre-wrap}
details{margin:2px 0}summary{cursor:pointer;padding:2px 0;font-size:14px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:5px 10px 5px 0;text-align:left;vertical-align:top;font-weight:400;
border-bottom:1px solid var(--line);overflow-wrap:normal}
thead th{color:var(--quiet);font-size:13px}
tbody th{white-space:nowrap}
@media (min-width:900px){.frame{display:grid;grid-template-columns:260px minmax(0,1fr);gap:32px}
nav{position:sticky;top:12px;align-self:start;max-height:calc(100vh - 24px);overflow:auto}}
@media (max-width:899px){nav{columns:2 220px;margin-top:16px}nav>ul>li{break-inside:avoid-column}}
@media (max-width:480px){tbody th{white-space:normal}article{padding:12px}}
@media print{nav{display:none}.frame{display:block}article{break-inside:avoid}}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
