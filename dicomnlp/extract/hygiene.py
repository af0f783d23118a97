"""From what systems write into a text value to plain text: line ends, HL7 escapes, HTML, RTF, control characters.

Nothing is evaluated and no markup survives by being understood: what isn't recognised as markup stays as it is written,
because "<5 mm" and "a<b" are words of a report.
"""

import re
from codecs import lookup
from html.entities import html5
from html.parser import HTMLParser

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_HL7_ESCAPE = re.compile(r"\\(\.(?:br|sp|ce|sk|fi|nf|in|ti)\d*|[HNFSTRE]|X[0-9A-Fa-f]{2,8})\\")
_HL7_CHARACTER = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", "H": "", "N": ""}
_HTML_TAG = re.compile(
    r"</?(?:html|head|body|p|br|hr|div|span|table|tbody|tr|td|th|ul|ol|li|h[1-6]|b|i|u|strong|em|font|style|pre|center|"
    r"sup|sub|a|title|meta)(?:\s+[a-z-]+\s*=[^<>]*)?\s*/?>",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:(?P<name>[A-Za-z][A-Za-z0-9]{1,31})|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_BLOCKS = frozenset(
    [
        "p",
        "br",
        "hr",
        "div",
        "table",
        "tr",
        "ul",
        "ol",
        "li",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "pre",
        "center",
        "body",
        "head",
        "title",
    ]
)
_UNSEEN = frozenset({"style", "script", "head"})
_RTF_TOKEN = re.compile(
    r"\\'(?P<hex>[0-9a-fA-F]{2})|\\u(?P<code>-?\d{1,6}) ?|\\(?P<word>[a-z]+)(?P<number>-?\d+)? ?|\\(?P<symbol>[^a-z])"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)|[\r\n]+"
)
_RTF_CHARACTERS = {
    "emdash": "\N{EM DASH}",
    "endash": "\N{EN DASH}",
    "bullet": "\N{BULLET}",
    "lquote": "\N{LEFT SINGLE QUOTATION MARK}",
    "rquote": "\N{RIGHT SINGLE QUOTATION MARK}",
    "ldblquote": "\N{LEFT DOUBLE QUOTATION MARK}",
    "rdblquote": "\N{RIGHT DOUBLE QUOTATION MARK}",
}
_RTF_UNSEEN = frozenset(
    [
        "fonttbl",
        "colortbl",
        "stylesheet",
        "info",
        "pict",
        "object",
        "header",
        "footer",
        "listtable",
        "listoverridetable",
        "generator",
        "themedata",
    ]
)


def printable(text: str) -> str:
    """`text` without control characters other than tab and line ends: what any database and any XML can hold."""
    return _CONTROL.sub("", text.replace("\x0b", "\n").replace("\x0c", "\n")) if not text.isprintable() else text


def plain_text(text: str) -> str:
    """The words of a text value, its lines ended by line feeds, with no control character and no trailing blanks."""
    if text.lstrip().startswith("{\\rtf"):
        text = rtf_to_text(text)
    text = _LINE_END.sub("\n", text)
    if "\\" in text:
        text = _HL7_ESCAPE.sub(_hl7_character, text)
    if "&" in text and not _HTML_TAG.search(text):
        text = _ENTITY.sub(_html_character, text)
    # now also markup that was escaped as a whole
    if "<" in text and _HTML_TAG.search(text):
        text = html_to_text(text)
    text = _CONTROL.sub("", text).replace("\u00a0", " ").replace("\ufeff", "")
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _hl7_character(match: re.Match[str]) -> str:
    """What an escape sequence of HL7 v2.x chapter 2.7 stands for."""
    code = match.group(1)
    if code.startswith("."):
        return "\n"
    if code.startswith("X"):
        characters = bytes.fromhex(code[1 : 1 + len(code[1:]) // 2 * 2]).decode("latin_1")
        return _LINE_END.sub("\n", characters)
    return _HL7_CHARACTER[code]


def _html_character(match: re.Match[str]) -> str:
    """What a character reference of HTML stands for; names that HTML doesn't know stay as they are written."""
    name = match["name"]
    if name is None:
        return html_to_text(match.group()) or " "
    return html5.get(f"{name};", match.group())


class _TextOfHtml(HTMLParser):
    """Collects the text that a reader of the page would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unseen = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self.unseen:
            return
        if tag in _UNSEEN:
            self.unseen = tag
        elif tag in _BLOCKS:
            self.parts.append("\n- " if tag == "li" else "\n")
        elif tag in {"td", "th"}:
            self.parts.append("\t")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.unseen:
            self.unseen = ""
        elif not self.unseen and tag in _BLOCKS and tag != "br":
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.parts.append(data)


def html_to_text(text: str) -> str:
    """The text of an HTML fragment; lines that the source breaks stay broken, since many writers mix both."""
    parser = _TextOfHtml()
    parser.feed(text)
    parser.close()
    lines = [re.sub(r"[ \t]+", " ", line).strip() for line in "".join(parser.parts).split("\n")]
    return re.sub(r"\n{2,}", "\n", "\n".join(lines))


def rtf_to_text(text: str) -> str:
    """The text of an RTF document: paragraphs as lines, without fonts, pictures and other groups that nobody reads.

    Bytes above 0x7F stand in the code page that the document names; a Unicode character is followed by as
    many stand-ins for older readers as the document says, which are passed over.
    """
    out: list[str] = []
    unseen_until: list[bool] = [False]
    raw = bytearray()
    codec, stand_ins, skip = "cp1252", 1, 0
    for match in _RTF_TOKEN.finditer(text):
        brace, word, unseen = match["brace"], match["word"], unseen_until[-1]
        if raw and not match["hex"]:
            out.append(raw.decode(codec, "replace"))
            raw.clear()
        if brace == "{":
            unseen_until.append(unseen)
        elif brace == "}":
            if len(unseen_until) > 1:
                unseen_until.pop()
            skip = 0
        elif match["symbol"] == "*" or word in _RTF_UNSEEN:
            unseen_until[-1] = True
        elif word == "ansicpg":
            codec = _rtf_codec(match["number"]) or codec
        elif word == "uc":
            stand_ins = int(match["number"] or 1)
        elif unseen:
            continue
        elif match["hex"]:
            if skip:
                skip -= 1
            else:
                raw += bytes.fromhex(match["hex"])
        elif match["code"]:
            out.append(chr(int(match["code"]) % 0x10000))
            skip = stand_ins
        elif word in {"par", "line", "sect", "page", "row"}:
            out.append("\n")
        elif word in {"tab", "cell"}:
            out.append("\t")
        elif word in _RTF_CHARACTERS:
            out.append(_RTF_CHARACTERS[word])
        elif match["symbol"] in {"\\", "{", "}"}:
            out.append(match["symbol"])
        elif match["symbol"] == "~":
            out.append(" ")
        elif match["text"]:
            out.append(match["text"][skip:])
            skip = max(0, skip - len(match["text"]))
    out.append(raw.decode(codec, "replace"))
    # beyond the basic plane \u gives halves of characters
    return "".join(out).encode("utf_16_le", "surrogatepass").decode("utf_16_le", "replace")


def _rtf_codec(page: str | None) -> str:
    """The Python codec of a Windows code page, "" when there is none."""
    try:
        return lookup(f"cp{page}").name
    except LookupError:
        return ""
