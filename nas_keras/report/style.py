"""The style sheet of a report: light and dark, a screen, a phone and paper.

It defines the variables that the figures of `curves.py` are drawn with.
"""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --panel: #f4f5f7;
  --ink: #1c2127; --soft: #57606a; --faint: #d5d9de; --controller: #0062a3;
  --random: #c2500a; --note: #fff6da; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b;
  --panel: #1e2329; --ink: #e6e9ed; --soft: #a4adb8; --faint: #3a424c;
  --controller: #62b8f5; --random: #ffa05c; --note: #362f16; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif;
  overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 0 0 0.25rem; }
p, li { max-width: 46rem; }
ul { padding-left: 1.25rem; }
.note { background: var(--note); border-radius: 6px; padding: 0.5rem 1rem; }
.note ul { margin: 0.25rem 0; }
.figures { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
figure { margin: 0; max-width: 36rem; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: 0.4rem; }
.command span { display: inline-block; max-width: 100%; }
.command code { text-indent: 0; padding-left: 0; }
figcaption, .soft { color: var(--soft); font-size: 0.9rem; }
pre { background: var(--panel); border-radius: 6px; padding: 0.75rem 1rem;
  margin: 0.5rem 0; font: 0.9rem/1.6 ui-monospace, monospace;
  white-space: pre-wrap; }
pre code { display: block; padding-left: 2em; text-indent: -2em;
  font: inherit; }
table { border-collapse: collapse; font-size: 0.92rem; width: 100%; }
th, td { padding: 0.35rem 0.6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--faint); }
thead th { color: var(--soft); vertical-align: bottom; }
.right { text-align: right; font-variant-numeric: tabular-nums;
  overflow-wrap: normal; }
.cell { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem;
  align-items: flex-start; margin: 0.5rem 0 1.5rem; }
.drawing { max-width: 100%; overflow-x: auto; border-radius: 6px; }
.drawing svg { display: block; width: 100%; height: auto; }
.words pre { columns: 22rem; } .words pre code { break-inside: avoid; }
.words { flex: 1 1 20rem; min-width: 0; }
@media (prefers-color-scheme: dark) { .drawing svg {
  filter: invert(0.92) hue-rotate(180deg); } }
details { border-top: 1px solid var(--faint); padding: 0.5rem 0; }
summary { cursor: pointer; font-weight: 600; }
.pairs tbody th { width: 16rem; font-weight: 400; color: var(--soft); }
.versus { width: auto; } .versus thead th { font-weight: 600; }
@media (min-width: 45.01rem) { .cells td { overflow-wrap: normal; }
  .cells td.right { white-space: nowrap; } .cells { display: block;
  overflow-x: auto; } }
@media (max-width: 45rem) { .pairs tbody th { width: 40%; }
  .versus { width: 100%; } .versus thead th { white-space: normal; }
  .cells thead { display: none; } .cells tr { display: block;
  margin-bottom: 0.75rem; background: var(--panel); border-radius: 6px; }
  .cells tbody, .cells td { display: block; } .cells td { display: flex;
  justify-content: space-between; gap: 1rem; }
  .cells td::before { content: attr(data-label); color: var(--soft); }
  .cells td:first-child { font-weight: 600; } }
@media print { .drawing svg { min-width: 0 !important; }
  details > * { display: block; } }
""".strip()
