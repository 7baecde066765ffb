"""Every command with its module, which is imported when the command is called: PyTorch alone takes seconds."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "demo": (
        "judge",
        "Classify the real measurement where it is found, otherwise a simulated one that ships; offline.",
    ),
    "fetch": (
        "judge",
        "Download a study's public measurement, check it by sha256 and bring it into the study's layout.",
    ),
    "studies": ("studies", "List, show and check studies."),
    "bonds": (
        "crystals",
        "Shells of neighbours of the magnetic sites, and what symmetry allows on each: exchange, anisotropy.",
    ),
    "structure": (
        "magnets",
        "Say whether a magnetic structure is stationary and a minimum, which site feels which torque, and what is "
        "lower.",
    ),
    "spinwaves": ("waves", "Energies and S_perp of the spin waves, per magnetic cell, sorted by falling energy."),
    "powder": (
        "magnets",
        "Average S_perp over all directions of Q: a powder's spectrum on |Q| and energy, per magnetic cell.",
    ),
    "resolution": (
        "physics",
        "Covariance of what the view shows, the rest integrated out: two axes of maps (r.l.u.) and energy (meV).",
    ),
    "simulate": ("simulation", "Simulate a model's spectrum on the study's tiles; NaN where there is no detector."),
    "inspect": (
        "files",
        "Say what a file holds: NXSPE, MDHistoWorkspace, .sqw, dnd, our .h5, .npy; judged by its content.",
    ),
    "reduce": (
        "files",
        "Bin reduced runs into the study's image: detector angles and energy to (Q, energy), with errors and counts.",
    ),
    "virtual": (
        "files",
        "Simulate a model and write what a detector array would have counted: one NXSPE file of each run.",
    ),
    "convert": (
        "files",
        "Write an image in another form, several parts as one; an .nxs is an MDHistoWorkspace that Mantid opens.",
    ),
    "plan": (
        "plan",
        "Say which Ei and energy transfers tell the candidates apart best; minutes for draws of the prior.",
    ),
    "dataset": ("datasets", "Build and look at training sets."),
    "train": (
        "training",
        "Train a network, calibrate it on held-back simulations and score it on others; go on if interrupted.",
    ),
    "calibrate": (
        "trust",
        "Calibrate and score trained weights anew, without training; several become one deep ensemble.",
    ),
    "trust": (
        "trust",
        "Score weights on the test part of their training set, which neither training nor stopping has seen.",
    ),
    "classify": (
        "judge",
        "Say which model made a spectrum, how sure that is, and whether it is like the training data at all.",
    ),
    "explain": ("explain", "Say which slices of a spectrum speak for a candidate, and which against it."),
    "cut": ("cut", "Cut a spectrum along an axis: data with errors against every candidate, with chi-square."),
    "clean": ("clean", "Clean a spectrum of noise and background; its errors are the spread of what it may be."),
    "fit": (
        "estimate",
        "Fit a candidate's exchange parameters to a spectrum, from the study's priors; takes minutes.",
    ),
    "compare": (
        "estimate",
        "Fit every candidate to a spectrum and say which describes it better, and in which slices; takes minutes.",
    ),
    "report": (
        "report",
        "Write one HTML file with verdict, trust, figures, explanation, cuts, settings and citations; prints to PDF.",
    ),
    "app": (
        "page",
        "Serve the web page of a study on this machine: verdict, trust, linked maps, slices, cuts, sliders.",
    ),
    "reproduce": (
        "reproduce",
        "Put the published numbers and figures beside ours; what needs weights that are missing says how to make them.",
    ),
}
"""Of each command the module of this package, and the first sentence of its help."""


def load(*names: str) -> Any:
    """Import the modules of these commands, of all where none is named; returns the application."""
    from .common import app

    for module in dict.fromkeys(COMMANDS[name][0] for name in names or COMMANDS):
        import_module(f".{module}", __package__)
    return app


class Commands(TyperGroup):
    """All commands; the help says what there is without importing any."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, None if there is none."""
        if cmd_name not in COMMANDS:
            names: dict[str, Any] = dict.fromkeys(COMMANDS)
            self.commands = names  # for the message that says which are alike
            return None
        group: Any = typer.main.get_command(load(cmd_name))
        return group.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])
