"""Where files are dropped on the page, with a size limit; a page shows it before files can be read."""

from typing import Any

import panel as pn

MEGABYTE = 1_000_000
LARGEST_MB = 200
"""Of an uploaded file, unless told otherwise."""


class Dropper(pn.widgets.FileDropper):
    """A file dropper that keeps to its limit on the server's side too, whatever the browser says."""

    def __init__(self, largest_mb: int = LARGEST_MB, **options: Any) -> None:
        super().__init__(max_file_size=f"{largest_mb}MB", multiple=False, previews=[], **options)
        self._largest = largest_mb * MEGABYTE
        self._received: dict[str, int] = {}

    def _process_event(self, event: Any) -> None:
        if event.event_name == "upload_event":
            data = event.data
            name = str(data["name"])
            before = 0 if data["chunk"] == 1 else self._received.get(name, self._largest + 1)
            self._received = {name: before + len(data["data"])}  # one file at a time
            if self._received[name] > self._largest:
                self._file_buffer.clear()
                return
            if data["chunk"] == 1:
                self._file_buffer.clear()
                self.value.clear()
            data["type"] = "application/octet-stream"  # never decoded as text
        super()._process_event(event)

    def take(self) -> tuple[str, bytes] | None:
        """The file that has come, which is then let go."""
        if not self.value:
            return None
        name, content = next(iter(self.value.items()))
        self.value.clear()
        return str(name), content if isinstance(content, bytes) else str(content).encode()
