"""What a published study printed, read from the file that ships beside the study's."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np

from ..errors import StudyError
from ..resolution.spread import Method
from ..study import Study


@dataclass(frozen=True)
class Published:
    """Numbers as printed.

    Attributes
    ----------
    per_class : int
        Images of each model.
    accurate : str
        The program's resolution method for the better one of the publication.
    cost : list of dict
        "what", CPU-"minutes" an image, and the program's "method" that does the same.
    edges : dict
        What is said of the fast method's band edges, in words.
    networks : dict
        By kind and resolution method, "accuracy", "measurement", and what else is printed.
    important : str
        The slice that the publication calls most important.
    ranking : list of dict
        Slices that it names, most important first: "ei", "energy" (low, high) in meV, and the "rank" it gives them.
    """

    citation: str
    per_class: int
    accurate: Method
    cost: list[dict[str, Any]]
    edges: dict[str, str]
    networks: dict[str, dict[str, dict[str, Any]]]
    important: str = ""
    ranking: list[dict[str, Any]] = field(default_factory=list)


def named_slices(numbers: Published, study: Study) -> dict[tuple[int, int], str]:
    """The slices (run, slice) that the publication names, each with its rank: those of ours that overlap most."""
    out = {}
    for entry in numbers.ranking:
        runs = [r for r, run in enumerate(study.runs) if run.ei == entry["ei"]]
        if runs:
            edges, (low, high) = study.energy_edges[runs[0]], entry["energy"]
            shared = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
            out[runs[0], int(shared.argmax())] = str(entry["rank"])
    return out


def published(study: Study) -> Published:
    """The published numbers of a study that ships.

    Raises
    ------
    StudyError
        If there are none.
    """
    file = resources.files("magnoscope.studies") / "published" / f"{study.name}.toml"
    if not file.is_file():
        raise StudyError(f"no published numbers ship for study {study.name}; there are none to set beside ours")
    return Published(**tomllib.loads(file.read_text("utf-8")))
