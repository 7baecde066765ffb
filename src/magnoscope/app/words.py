"""Text panes; nothing here takes long to import."""

import html
from typing import Any

import panel as pn

STYLE = """
:host { font: 15px/1.45 system-ui, sans-serif; color: #111; }
h1 { font-size: 1.5em; margin: 0.2em 0; } h2 { font-size: 1.2em; border-bottom: 1px solid #999; margin: 1em 0 0.3em; }
.banner { border: 3px solid #b00; padding: 0.6em 1em; margin: 0.6em 0; } .banner strong { font-size: 1.2em; }
.sound { border: 2px solid #005a8c; padding: 0.6em 1em; margin: 0.6em 0; }
.warning { border-left: 4px solid #d55e00; padding-left: 0.8em; }
.error { border: 2px solid #b00; padding: 0.5em 1em; }
table { border-collapse: collapse; margin: 0.6em 0; }
th, td { text-align: left; padding: 0.2em 0.7em; vertical-align: top; }
th { border-bottom: 1px solid #333; } td { border-bottom: 1px solid #ddd; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { font-size: 0.9em; color: #333; } code { overflow-wrap: anywhere; }
pre { font: 12px/1.35 monospace; white-space: pre-wrap; border: 1px solid #ccc; padding: 0.6em; margin: 0.3em 0; }
"""


def text(markup: str, **options: Any) -> pn.pane.HTML:
    """A pane of HTML; whatever is from a file must have gone through :func:`plain`."""
    return pn.pane.HTML(markup, stylesheets=[STYLE], sizing_mode="stretch_width", **options)


def plain(value: object) -> str:
    """Text of any origin as HTML that says just that."""
    return html.escape(str(value))
