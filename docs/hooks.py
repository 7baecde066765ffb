"""Hook of the documentation site: the page of commands is what the commands themselves say."""

import typer

MARK = "COMMANDS ARE LISTED HERE"


def on_page_markdown(markdown: str, **_: object) -> str:
    return markdown.replace(MARK, _commands()) if MARK in markdown else markdown


def _commands() -> str:
    from magnoscope.cli import app

    return "\n".join(_described(typer.main.get_command(app), "magnoscope"))


def _described(command, name: str) -> list[str]:
    below = getattr(command, "commands", None)
    if below:
        return [line for key, found in sorted(below.items()) for line in _described(found, f"{name} {key}")]
    lines = [f"## {name}", "", (command.help or "").strip(), "", "| argument or option | meaning |", "|---|---|"]
    for parameter in command.params:
        if parameter.name == "help":
            continue
        options = [*parameter.opts, *parameter.secondary_opts]
        shown = parameter.metavar or parameter.name.upper() if parameter.param_type_name == "argument" else None
        names = f"`{shown}`" if shown else ", ".join(f"`{option}`" for option in options)
        text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
        lines.append(f"| {names} | {text} |".replace("``", "`"))
    return [*lines, ""]
