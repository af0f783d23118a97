"""What becomes of a report's text before anything is learned from it, step by step, so that each can be looked at.

Cleaning (headings, placeholders of de-identification, white space), sentences, tokens, stop words, stems, n-grams. What
differs between languages comes from the language pack (headings, sentence ends, cues) and from spaCy (stop words).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nltk.stem.snowball import SnowballStemmer

from dicomnlp.analyse import load_pack
from dicomnlp.analyse.context import CATEGORIES, steps
from dicomnlp.analyse.library import spacy
from dicomnlp.analyse.pack import Pack
from dicomnlp.analyse.sections import SectionFinder
from dicomnlp.analyse.sentences import SentenceSplitter
from dicomnlp.analyse.tokens import HAN, tokenize
from dicomnlp.model import Narrative

NUMBER = "#"
"""The token of every number: which one it is says nothing about words."""
PLACEHOLDER = "_"
"""The mark that stands for what was taken out when a text was de-identified."""
LONGEST_NGRAM = 3
_PLACEHOLDERS = re.compile(
    r"\[\*\*.{0,200}?\*\*\]"  # MIMIC's: [**2011-4-5**]
    r"|\[(?:[A-Z][A-Z0-9 _-]{1,30}|\u5df2\u5220\u9664|\u8131\u654f)\]"  # [REDACTED], [NAME 1]
    r"|<(?:[A-Z][A-Z0-9 _-]{1,30})>"  # <DATE>, as scrubbers write it
    r"|(?<![A-Za-z])X{3,}(?![A-Za-z])"  # Open-I's: XXXX
    r"|_{2,}|\*{3,}|\u25a1{2,}|\u00d7{3,}"
)
_SPACE = re.compile(r"\s+")
_STEMMED = {"en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese"}
"""Codes of languages and what the Snowball stemmers (Porter 2001) call them; others are used as they are written."""
_BESIDE_HAN = re.compile(f"(?<=[{HAN}]) (?=[{HAN}])")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence in each of its steps."""

    text: str
    """Without placeholders, white space collapsed."""
    tokens: tuple[str, ...]
    """In lower case, numbers as `NUMBER`; marks are tokens."""
    kept: tuple[str, ...]
    """Without marks, numbers and stop words."""
    stems: tuple[str, ...]
    """Of what is kept."""
    ngrams: tuple[str, ...]
    """Stems that stand beside one another among those kept, two and three at a time."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What becomes of a text."""

    language: str
    text: str
    """As written."""
    headings: tuple[str, ...]
    """Taken out."""
    placeholders: int
    """How many were taken out."""
    sentences: tuple[Sentence, ...]

    @property
    def clean(self) -> str:
        """The text without headings and placeholders, a sentence a line."""
        return "\n".join(sentence.text for sentence in self.sentences)

    @property
    def features(self) -> list[str]:
        """Stems and n-grams, each as often as it is there."""
        return [feature for s in self.sentences for feature in (*s.stems, *s.ngrams)]


class Preprocessor:
    """Prepares texts of one language.

    Parameters
    ----------
    language
        Of the pack, with the site's overlay, whose headings, sentence ends and cues are used.

    Raises
    ------
    LanguageNotSupportedError
        There is no such pack.
    """

    def __init__(self, language: str) -> None:
        self.pack: Pack = load_pack(language)
        self.cues = cue_words(self.pack)
        self.stop_words = stop_words(self.pack, self.cues)
        self._sections = SectionFinder(self.pack.sections)
        self._sentences = SentenceSplitter(self.pack.sentences, self.pack.about.limits.sentence_characters)
        self._fold = self.pack.about.folding
        stemmer = _STEMMED.get(language)
        self.stem = lru_cache(100_000)(SnowballStemmer(stemmer).stem) if stemmer else str

    def steps(self, text: str) -> Steps:
        """All steps of `text`, linear in its length."""
        headings, placeholders, sentences = [], 0, []
        folded = text.translate(self._fold)
        for section in self._sections.find(Narrative(folded)):
            if section.title:
                headings.append(section.title)
            for start, end in self._sentences.split(folded, section.body_start, section.end):
                clean, found = cleaned(folded[start:end])
                placeholders += found
                if clean.strip(f"{PLACEHOLDER} .,;:"):
                    sentences.append(self._sentence(clean))
        return Steps(self.pack.language, text, tuple(headings), placeholders, tuple(sentences))

    def sentences(self, text: str) -> Iterator[tuple[str, ...]]:
        """The tokens of each sentence alone, which is what vectors are made of."""
        folded = text.translate(self._fold)
        for section in self._sections.find(Narrative(folded)):
            for start, end in self._sentences.split(folded, section.body_start, section.end):
                tokens = tokens_of(cleaned(folded[start:end])[0])
                if tokens:
                    yield tokens

    def _sentence(self, clean: str) -> Sentence:
        tokens = tokens_of(clean)
        kept = tuple(t for t in tokens if is_word(t) and t not in self.stop_words)
        stems = tuple(map(self.stem, kept))
        return Sentence(clean, tokens, kept, stems, tuple(self._ngrams(tokens)))

    def _ngrams(self, tokens: Sequence[str]) -> Iterator[str]:
        """Of the stems between two marks; stop words are stepped over."""
        run: list[str] = []
        for token in (*tokens, PLACEHOLDER):
            if is_word(token):
                if token not in self.stop_words:
                    run.append(self.stem(token))
            elif token != NUMBER:
                yield from ngrams(run)
                run = []


def cleaned(text: str) -> tuple[str, int]:
    """`text` with placeholders as `PLACEHOLDER` and single spaces, and how many placeholders there were."""
    marked, count = _PLACEHOLDERS.subn(f" {PLACEHOLDER} ", text)
    return _SPACE.sub(" ", marked).strip(), count


def tokens_of(text: str) -> tuple[str, ...]:
    """Tokens in lower case, each number as `NUMBER`."""
    return tuple(NUMBER if token[0].isdigit() else token for token in tokenize(text).lower)


def is_word(token: str) -> bool:
    """Whether `token` has letters, rather than being a mark or a number."""
    return token[0].isalpha()


def joined(words: Sequence[str]) -> str:
    """Tokens as they are written: with spaces, but none between Han characters."""
    return _BESIDE_HAN.sub("", " ".join(words))


def ngrams(words: Sequence[str]) -> Iterator[str]:
    """Two and three words that stand beside one another."""
    for size in range(2, LONGEST_NGRAM + 1):
        for start in range(len(words) - size + 1):
            yield joined(words[start : start + size])


def stop_words(pack: Pack, cues: frozenset[str]) -> frozenset[str]:
    """The stop words that spaCy has for the pack's language, less whatever can turn a finding's assertion.

    "No", "without" and "may" are among spaCy's, and are what a report is written for.
    """
    try:
        words = frozenset(map(str.lower, spacy.util.get_lang_class(pack.language).Defaults.stop_words))
    except ImportError:
        words = frozenset(pack.about.common_words)
    kept = cues
    if pack.about.unspaced:
        # a character is a stop word and a part of words: "上" is "on", and the upper lobe's "upper"
        terms = [entry.terms for entry in pack.concepts.values()] + [entry.terms for entry in pack.anatomy.values()]
        kept |= {character for some in terms for term in some for character in term}
    return words - kept


def cue_words(pack: Pack) -> frozenset[str]:
    """Words that are a cue by themselves; in a script without spaces, every character of a cue."""
    found: set[str] = set()
    for group in pack.context.cues:
        if group.category not in CATEGORIES:
            continue
        for term in group.terms:
            needed = [words for words, optional in steps(term) if not optional]
            if len(needed) == 1 or pack.about.unspaced:
                found.update(str(word) for words in needed for word in words if isinstance(word, str))
    return frozenset(found)
