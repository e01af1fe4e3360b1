"""What every report looks like: a frame with its style and nothing that is fetched."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ --ink: #1c1b22; --faint: #5c5a66; --paper: #fff; --line: #d9d7e0; --bar: #a9a6b8; --strong: #b3261e; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #ece9f2; --faint: #aaa6b5; --paper: #16151a; --line: #3b3945; --bar: #6d6a7c; --strong: #ff8a7a; }}
}}
body {{ margin: 0 auto; max-width: 50rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.6rem; overflow-wrap: anywhere; }}
h2 {{ margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; font-size: 1.25rem; }}
h3 {{ margin: 1.25rem 0 0.25rem; font-size: 1rem; }}
p {{ color: var(--faint); }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; }}
dt {{ color: var(--faint); }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-size: 0.9rem; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid var(--line); padding: 0.25rem 0.75rem 0.25rem 0; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ display: block; width: 100%; height: auto; }}
svg text {{ fill: var(--ink); font-size: 13px; dominant-baseline: middle; }}
svg .label {{ text-anchor: end; }}
svg .mark {{ fill: var(--faint); text-anchor: middle; font-size: 12px; }}
svg .high {{ text-anchor: end; }}
svg .name {{ font-size: 12px; }}
svg .bar, svg .dot {{ fill: var(--bar); }}
svg .strong {{ fill: var(--strong); }}
svg .interval, svg .axis {{ fill: none; stroke: var(--ink); stroke-width: 1.5; }}
svg .axis, svg .leader {{ fill: none; stroke: var(--line); }}
svg .line {{ fill: none; stroke: var(--strong); stroke-width: 2; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
