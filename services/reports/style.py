"""How the page looks: light and dark as the reader's system is, narrow and wide, on screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --text: #1b2230; --soft: #5b6577; --line: #dde1e8; --stripe: #f8f9fb;
  --a: #1f5fbf; --b: #a85f00; --ok: #1d7a45; --warn: #93600a; --bad: #b3261e;
  --ok-back: #e4f4ea; --warn-back: #fdf1da; --bad-back: #fce8e6; --none-back: #eceff3; --band: #1d7a4518;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #10141b; --card: #181e28; --text: #dfe5ee; --soft: #98a3b5; --line: #2b3443; --stripe: #1c232e;
    --a: #7db2ff; --b: #f0b15a; --ok: #6fd39a; --warn: #f0bf63; --bad: #ff9088;
    --ok-back: #17332a; --warn-back: #3a2f17; --bad-back: #42211f; --none-back: #252d3a; --band: #6fd39a1f;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 1180px; padding: 20px 18px 60px; background: var(--page); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
}
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.12rem; margin: 34px 0 10px; }
h3 { font-size: 0.98rem; margin: 0; }
p { margin: 4px 0; }
a { color: var(--a); }
small, .soft { color: var(--soft); font-size: 0.86rem; }
code, pre { font: 0.84rem/1.5 ui-monospace, "SF Mono", Consolas, "Liberation Mono", monospace; }
code, .path { overflow-wrap: anywhere; }
.top { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 20px; margin-bottom: 12px; }
.banner { padding: 16px 18px; border-radius: 10px; border-left: 6px solid; background: var(--none-back); }
.banner.ok { background: var(--ok-back); border-color: var(--ok); }
.banner.warn { background: var(--warn-back); border-color: var(--warn); }
.banner.bad { background: var(--bad-back); border-color: var(--bad); }
.banner p { margin-top: 6px; }
.banner ul { margin: 8px 0 0; padding-left: 20px; }
.banner li { margin: 3px 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(118px, 1fr)); gap: 10px; margin: 14px 0 0; }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 9px 12px; }
.fact b { display: block; font-size: 1.22rem; font-weight: 600; }
.fact span { color: var(--soft); font-size: 0.84rem; }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }
.grid.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px; min-width: 0;
  break-inside: avoid;
}
.card header { display: flex; justify-content: space-between; align-items: baseline; gap: 8px; margin-bottom: 6px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 10px; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; background: #000; }
figcaption { color: var(--soft); font-size: 0.8rem; margin-top: 3px; line-height: 1.35; }
.gone { border: 1px dashed var(--line); border-radius: 4px; padding: 18px 8px; text-align: center; color: var(--soft); }
.lines { display: grid; grid-template-columns: auto 1fr; gap: 1px 12px; margin: 8px 0 0; font-size: 0.86rem; }
.lines dt { color: var(--soft); }
.lines dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.left dd { text-align: left; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.87rem; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
th:first-child { position: sticky; left: 0; background: var(--card); }
.n { text-align: right; white-space: nowrap; }
.mark {
  display: inline-block; padding: 0 8px; border-radius: 9px; font-size: 0.8rem; line-height: 1.5; white-space: nowrap;
  background: var(--none-back); color: var(--text);
}
.mark.ok { background: var(--ok-back); color: var(--ok); }
.mark.warn { background: var(--warn-back); color: var(--warn); }
.mark.bad { background: var(--bad-back); color: var(--bad); }
.why { display: block; min-width: 15em; color: var(--soft); white-space: normal; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .ty { text-anchor: end; }
svg .tx:not([text-anchor]) { text-anchor: middle; }
.pair svg text { font-size: 21px; }
svg .grid { stroke: var(--line); stroke-width: 0.7; }
svg .axis { stroke: var(--soft); stroke-width: 0.8; }
svg .band { fill: var(--band); }
svg .bars { fill: var(--a); fill-opacity: 0.75; }
svg .curve { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
svg .curve.a { stroke: var(--a); } svg .curve.b { stroke: var(--b); } svg .curve.bad { stroke: var(--bad); }
svg .curve.dash { stroke: var(--soft); stroke-dasharray: 5 4; stroke-width: 1.2; }
svg .dot { fill: var(--a); } svg .dot.b { fill: var(--b); }
svg .dot.bad { fill: var(--card); stroke: var(--bad); stroke-width: 1.5; }
.key { color: var(--soft); font-size: 0.82rem; margin-right: 14px; white-space: nowrap; }
.key::before {
  content: ""; display: inline-block; width: 14px; height: 0; margin-right: 6px; vertical-align: middle;
  border-top: 2.5px solid var(--a);
}
.key.b::before { border-color: var(--b); } .key.bad::before { border-color: var(--bad); }
.key.dash::before { border-top: 2px dashed var(--soft); }
@media (min-width: 940px) { .wide svg text { font-size: 8px; } }
pre { overflow-x: auto; margin: 8px 0 0; padding: 10px 12px; background: var(--stripe); border-radius: 8px; }
abbr { text-decoration: underline dotted var(--line); text-underline-offset: 3px; cursor: help; }
summary { cursor: pointer; color: var(--a); margin: 8px 0; }
footer { margin-top: 36px; color: var(--soft); font-size: 0.84rem; }
@media (max-width: 560px) {
  body { padding: 14px 12px 40px; }
  .facts { grid-template-columns: 1fr 1fr; }
  th, td { padding: 6px 8px; }
  .why { min-width: 9.5em; }
}
@media print {
  :root {
    color-scheme: light; --page: #fff; --card: #fff; --text: #000; --soft: #444; --line: #bbb; --stripe: #fff;
    --a: #1f5fbf; --b: #a85f00; --ok: #14602f; --warn: #7a4f00; --bad: #a3201a;
    --ok-back: #fff; --warn-back: #fff; --bad-back: #fff; --none-back: #fff; --band: #1d7a4522;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { overflow: visible; }
  .banner, .mark { border: 1px solid currentColor; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
}
"""
"""The page's one style sheet."""
