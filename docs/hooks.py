"""Hooks of the documentation site: pages of decisions, and the page of commands as the commands themselves say."""

from pathlib import Path
from typing import Any

import typer

MARK = "COMMANDS ARE LISTED HERE"


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name at its end, decisions under a heading of their own."""
    folder, named = Path(config["docs_dir"]), str(config["nav"])
    left = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.md"))]
    left = [name for name in left if name not in named and not name.startswith(("figures/", "examples/"))]
    decisions = [name for name in left if name.startswith("decisions/")]
    rest = [name for name in left if name not in decisions]
    config["nav"] += [{"Decisions": decisions}, *([{"More": rest}] if rest else [])]
    return config


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill the page of commands."""
    return markdown.replace(MARK, _commands()) if MARK in markdown else markdown


def _commands() -> str:
    from magnoscope.cli import app

    return "\n".join(_described(typer.main.get_command(app), "magnoscope"))


def _described(command: Any, name: str) -> list[str]:
    below = getattr(command, "commands", None)
    if below:
        return [line for key, found in sorted(below.items()) for line in _described(found, f"{name} {key}")]
    lines = [f"## {name}", "", (command.help or "").strip(), "", "| argument or option | meaning |", "|---|---|"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            names = f"`{parameter.metavar or parameter.name.upper()}`"
        else:
            names = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
        said = " ".join((getattr(parameter, "help", None) or "").split())
        # a bar would end a cell of the table
        lines.append("| {} | {} |".format(*(part.replace("|", "\\|") for part in (names, said))))
    return [*lines, ""]
