"""Studies: list, show, check."""

import typer

from ..studies import load_study, parse_study, shipped, study_text
from .common import Json, StudyArgument, app, print_json

commands = typer.Typer(help="List, show and check studies.", invoke_without_command=True)
app.add_typer(commands, name="studies")


@commands.callback()
def list_studies(context: typer.Context, as_json: Json = False) -> None:
    """List the studies that ship."""
    if context.invoked_subcommand is not None:
        return
    found = {name: load_study(name) for name in shipped()}
    if as_json:
        print_json([{"name": n, "title": s.title, "models": list(s.classes)} for n, s in found.items()])
        return
    for name, study in found.items():
        print(f"{name}: {study.title} ({' or '.join(study.classes)})")


@commands.command()
def show(study: StudyArgument, as_json: Json = False) -> None:
    """Print the file of a study, or with --json what it comes to."""
    text, _ = study_text(study)
    if not as_json:
        print(text, end="")
        return
    found = parse_study(text, study)
    print_json(
        {
            "name": found.name,
            "title": found.title,
            "citation": found.citation,
            "models": {
                name: {p.name: {"reference": p.reference, "prior": list(p.prior)} for p in model.parameters}
                for name, model in found.models.items()
            },
            "runs": [{"ei_meV": r.ei, "frequency_Hz": r.frequency, "psi_degrees": r.psi} for r in found.runs],
            "instrument": found.spectrometer.name,
            "tiles": list(found.shape),
            "image": list(found.image_shape),
            "layout_hash": found.layout_hash,
            "physics_hash": found.physics_hash,
        }
    )


@commands.command()
def check(study: StudyArgument, as_json: Json = False) -> None:
    """Say whether a study file is right, or the line and key of what is wrong."""
    found = load_study(study)
    summary = {
        "ok": True,
        "name": found.name,
        "models": {name: {"sites": len(m.sites), "bonds": len(m.bonds)} for name, m in found.models.items()},
        "tiles": list(found.shape),
    }
    if as_json:
        print_json(summary)
        return
    models = ", ".join(f"{name} ({len(m.sites)} sites, {len(m.bonds)} bonds)" for name, m in found.models.items())
    print(f"{study} is right: {models}; {len(found.runs)} runs of {found.view.size}")
