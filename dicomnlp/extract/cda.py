"""HL7 CDA documents (PS3.3 A.45.2): narrative blocks of sections, read by lxml with entities and network off."""

import base64
import binascii
import re
from codecs import lookup
from html import unescape
from html.entities import html5

from lxml import etree

from dicomnlp.errors import ObjectTooLargeError, UnreadableObjectError
from dicomnlp.extract.charset import codec_of_undeclared
from dicomnlp.extract.headings import heading_of, section_of_words
from dicomnlp.extract.hygiene import html_to_text, plain_text
from dicomnlp.extract.paragraphs import NarrativeBuilder
from dicomnlp.extract.pdf import read_pdf
from dicomnlp.model import Code, Narrative, SectionName, State

MAX_SIZE = 20 * 1024 * 1024
"""Bytes of XML; a narrative of this size isn't read by anybody."""
_LOINC_OID = "2.16.840.1.113883.6.1"
_CHARACTER = rb"&#(?!0*38;|x0*26;)x?[0-9A-Fa-f]{1,6};"
_HARMLESS = re.compile(
    rb"<!ENTITY\s+([A-Za-z][\w.-]{0,30})\s+(?:\"((?:[^\"&%<]|"
    + _CHARACTER
    + rb"){0,16})\"|'((?:[^'&%<]|"
    + _CHARACTER
    + rb"){0,16})')\s*>"
)
"""A name for a few characters, none of which can begin a reference to another entity."""
_DECLARATION = re.compile(rb"\s*<\?xml\b(?:[^>]*?\bencoding\s*=\s*[\"'](?P<encoding>[^\"']*)[\"'])?[^>]*\?>")
_NAMED = re.compile(rb"&([A-Za-z][A-Za-z0-9]{1,31});")
_BLOCKS = frozenset(
    {"paragraph", "br", "table", "thead", "tbody", "tr", "list", "item", "caption", "text", "div", "p"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "pre", "title"}
)
_CELLS = frozenset({"td", "th"})


def read_cda(data: bytes, warnings: list[str]) -> tuple[Narrative, State, str, str]:
    """The words of a CDA document.

    Parameters
    ----------
    data
        The XML as encapsulated.
    warnings
        Gets ``cda_root`` when the root isn't ClinicalDocument, ``cda_encoding`` when it isn't in UTF-8 as it should,
        ``cda_unresolved_entity``, ``cda_bad_base64``, ``cda_media_type``, and those of `pdf.read_pdf`.

    Returns
    -------
    tuple
        Narrative, state, title and language code ("" where the document has none).

    Raises
    ------
    UnreadableObjectError
        ``xml_forbidden`` when the document defines entities that lead out of it or multiply,
        ``bad_xml`` when it isn't well-formed.
    ObjectTooLargeError
        Above 20 MiB.
    """
    data = data.rstrip(b"\0")
    if len(data) % 2 and data.startswith((b"\xff\xfe", b"<\0")):
        # the last zero was half of a character of UTF-16
        data += b"\0"
    if len(data) > MAX_SIZE:
        raise ObjectTooLargeError("The encapsulated CDA document is too large.", reason_code="cda_too_large")
    entities = _declared_entities(data)
    if b"\0" not in data[:4]:
        # names that HTML knows are written without being declared, and would be lost where a DTD isn't loaded
        data = _NAMED.sub(_numbered, data)
    root = _root(data, warnings)
    _resolve(root, entities, warnings)
    if _name(root) != "ClinicalDocument":
        warnings.append("cda_root")
    title = next((_flat(child) for child in root if _name(child) == "title"), "")
    language = next((child.get("code") or "" for child in root if _name(child) == "languageCode"), "")

    body = next((e for e in root.iter(etree.Element) if _name(e) == "nonXMLBody"), None)
    if body is not None:
        narrative, state = _unstructured(body, warnings)
        return narrative, state, title, language
    builder = NarrativeBuilder()
    names: dict[etree._Element, SectionName | None] = {}
    has_text = False
    for number, section in enumerate((e for e in root.iter(etree.Element) if _name(e) == "section"), 1):
        around = next((names[e] for e in section.iterancestors() if e in names), None)
        names[section], has_words = _write_section(section, around, f"section {number}", builder)
        has_text = has_text or has_words
    narrative = builder.build()
    if not narrative.text and _name(root) != "ClinicalDocument":
        builder = NarrativeBuilder()
        builder.paragraph(_text(root), "document")
        narrative = builder.build()
        has_text = bool(narrative.text)
    if not has_text:
        # headings over coded entries, which aren't read, say nothing
        narrative = Narrative("")
    return narrative, State.PENDING if has_text else State.NO_TEXT, title, language


def _root(data: bytes, warnings: list[str]) -> etree._Element:
    """The parsed document; one that isn't in the UTF-8 that it declares or implies is read all the same."""
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        codec = _other_than_utf_8(data)
    if codec is not None:
        warnings.append("cda_encoding")
        try:
            return etree.fromstring(_DECLARATION.sub(b"", data).decode(codec, "replace").encode(), parser)
        except (etree.XMLSyntaxError, ValueError):
            pass  # its letters were not what is wrong with it
    raise UnreadableObjectError("The encapsulated CDA document is not well-formed.", reason_code="bad_xml")


def _other_than_utf_8(data: bytes) -> str | None:
    """The likeliest codec of a document that should be UTF-8 and isn't; None when it is, or declares another."""
    declared = _DECLARATION.match(data)
    encoding = declared["encoding"] if declared else None
    if encoding is not None and encoding.lower().replace(b"-", b"") not in {b"utf8", b"usascii", b"ascii"}:
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        codec = codec_of_undeclared(data)
        return codec if codec != "iso2022" else None
    return None


def _declared_entities(data: bytes) -> dict[str, bytes]:
    """The entities that a document declares; refused are those that lead out of it or multiply."""
    # UTF-16 is ASCII with zeros between, as far as declarations go
    flat = data.replace(b"\0", b"")
    found = _HARMLESS.findall(flat)
    if flat.count(b"<!ENTITY") != len(found):
        raise UnreadableObjectError(
            "The encapsulated CDA document defines XML entities that lead out of it or multiply, which is not allowed.",
            reason_code="xml_forbidden",
        )
    return {name.decode(): double or single for name, double, single in found}


def _numbered(match: re.Match[bytes]) -> bytes:
    """A named character as numeric references; the five of XML and unknown names stay as they are."""
    name = match[1].decode()
    characters = html5.get(f"{name};") if name not in {"amp", "lt", "gt", "quot", "apos"} else None
    return "".join(f"&#{ord(c)};" for c in characters).encode() if characters else match[0]


def _resolve(root: etree._Element, entities: dict[str, bytes], warnings: list[str]) -> None:
    """Put text in the place of entities; one of a DTD that isn't read stays by its name, and what follows it stays."""
    encoding = root.getroottree().docinfo.encoding or "utf_8"
    try:
        # what was found in UTF-16 has lost its zeros
        encoding = "utf_8" if lookup(encoding).name.startswith("utf-16") else encoding
    except LookupError:
        encoding = "ascii"
    for entity in list(root.iter(etree.Entity)):
        parent, before = entity.getparent(), entity.getprevious()
        if parent is None:
            continue
        words = str(entity.text)
        if entity.name in entities:
            words = unescape(entities[entity.name].decode(encoding, "replace"))
        else:
            warnings.append("cda_unresolved_entity")
        words += entity.tail or ""
        if before is None:
            parent.text = (parent.text or "") + words
        else:
            before.tail = (before.tail or "") + words
        entity.tail = None
        parent.remove(entity)


def _name(element: etree._Element) -> str:
    """Local name of an element; "" for what is none."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _flat(element: etree._Element) -> str:
    return " ".join(plain_text("".join(element.itertext())).split())


def _write_section(
    section: etree._Element, around: SectionName | None, path: str, builder: NarrativeBuilder
) -> tuple[SectionName | None, bool]:
    """One section without the sections within it, which follow on their own; its name, and whether it has text.

    Organs and other parts of a section belong to it, and what stands within previous findings is previous.
    """
    title, text, code = "", "", None
    for child in section:
        tag = _name(child)
        if tag == "title":
            title = _flat(child).rstrip(" :：")
        elif tag == "text":
            text = _text(child)
        elif tag == "code":
            scheme = "LN" if child.get("codeSystem") == _LOINC_OID else child.get("codeSystemName") or ""
            code = Code(child.get("code") or "", scheme, child.get("displayName") or "")
    heading = section_of_words(title) if title else None
    if heading is None or heading.section is None:
        heading = heading_of(Code(code.value, code.scheme, "")) if code is not None else None
    if heading is None and code is not None:
        heading = section_of_words(code.meaning)
    name = (heading.section if heading is not None else None) or around
    if around is SectionName.COMPARISON:
        name = around
    if text or title:
        title = title or (code.meaning if code is not None else "")
        if title or name is not None:
            builder.heading(name or SectionName.OTHER, title, path)
        builder.paragraph(text, path)
    return name, bool(text)


def _text(block: etree._Element) -> str:
    """A narrative block (CDA R2 4.3.5) as lines: paragraphs, items and table rows; cells held apart by tabs."""
    parts: list[str] = []
    walk = etree.iterwalk(block, events=("start", "end"))
    for event, element in walk:
        name = _name(element)
        if event == "start" and element.get("revised") == "delete":
            # CDA R2 4.3.5.1: what was struck out; its tail comes with its end
            walk.skip_subtree()
        elif event == "start":
            if name in _BLOCKS:
                parts.append("\n- " if name == "item" else "\n")
            elif name in _CELLS:
                parts.append("\t")
            if name:
                parts.append(_inline(element.text))
        else:
            if name in _BLOCKS and name != "br":
                parts.append("\n")
            if element is not block:
                parts.append(_inline(element.tail))
    lines = [re.sub(" {2,}", " ", line).strip() for line in "".join(parts).split("\n")]
    return plain_text("\n".join(line for line in lines if line and line != "-"))


def _inline(text: str | None) -> str:
    """Text between tags: line ends of the XML source are blanks, as in HTML."""
    if not text:
        return ""
    words = " ".join(text.split())
    return (" " if text[0].isspace() else "") + words + (" " if words and text[-1].isspace() else "")


def _unstructured(body: etree._Element, warnings: list[str]) -> tuple[Narrative, State]:
    """A body that isn't XML: plain text, HTML, or a base64 document (CDA R2 4.3.1.1)."""
    element = next((e for e in body.iter(etree.Element) if _name(e) == "text"), body)
    content = _text(element) if len(element) else "".join(element.itertext())
    media_type = (element.get("mediaType") or "text/plain").lower()
    data = content.encode()
    if (element.get("representation") or "").upper() == "B64":
        try:
            data = base64.b64decode("".join(content.split()), validate=True)
        except (binascii.Error, ValueError):
            warnings.append("cda_bad_base64")
            return Narrative(""), State.NO_TEXT
    if media_type == "application/pdf" or data.startswith(b"%PDF-"):
        return read_pdf(data, warnings)
    if not media_type.startswith("text/") and not data.startswith(b"{\\rtf"):
        warnings.append("cda_media_type")
        return Narrative(""), State.NO_TEXT
    try:
        text = data.decode("utf_8")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    builder = NarrativeBuilder()
    builder.paragraph(plain_text(html_to_text(text) if "html" in media_type else text), "nonXMLBody")
    narrative = builder.build()
    return narrative, State.PENDING if narrative.text.strip() else State.NO_TEXT
