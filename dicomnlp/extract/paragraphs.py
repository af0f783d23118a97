"""Text that isn't a content tree, put together with headings and kept account of: pages, CDA sections."""

from dicomnlp.model import Narrative, Section, SectionName, Segment


class NarrativeBuilder:
    """Grows a narrative paragraph by paragraph; offsets stay true because nothing written is changed again."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._sections: list[Section] = []
        self._segments: list[Segment] = []
        self._open: tuple[SectionName, str | None, int, int] | None = None

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def heading(self, section: SectionName, title: str, path: str) -> None:
        """Begin a section; its heading stands on a line of its own, ended by a colon."""
        self.close_section()
        if self._length:
            self._write("\n\n")
        start = self._length
        if title:
            self._write(f"{title}:")
            self._segments.append(Segment(start, self._length, path))
            self._write("\n")
        self._open = (section, title or None, start, self._length)

    def close_section(self) -> None:
        """End the section that is open, if one is."""
        if self._open is not None:
            name, title, start, body_start = self._open
            end = max(self._length, body_start)
            self._sections.append(Section(name, title, start, end, body_start))
            self._open = None

    def paragraph(self, text: str, path: str) -> None:
        """Append a paragraph of plain text; `path` says where in the object it stands."""
        if not text:
            return
        at_body_start = self._open is not None and self._open[3] == self._length
        if self._length and not at_body_start:
            self._write("\n")
        start = self._length
        self._write(text)
        self._segments.append(Segment(start, self._length, path))

    def build(self) -> Narrative:
        """The narrative so far."""
        self.close_section()
        return Narrative("".join(self._parts), tuple(self._sections), tuple(self._segments))
