"""How long a report takes: dicomnlp with everything on beside stock medspaCy.

Run ``python benchmarks/analysis.py REPORTS.jsonl...`` (lines with a ``text``; several files are reported one by one).
Everything is timed in one process, on the same texts in the same order, in seconds of processor time, after everybody
has read them all once: what is made at its first use, patterns above all, is there then.

- ``dicomnlp``: sections, sentences, findings with assertion and attributes, measurements, labels, statements, from an
  empty cache of sentences of the size that it has in use; once more without the cache, and with the public JSON of it
  written, to which medspaCy has no counterpart;
- ``medspacy``: ``medspacy.load()`` as it comes (tokenizer, PyRuSH, target matcher, ConText with its own rules) with one
  target rule for each concept of the English pack, its first term: what it takes to look for the same concepts;
- ``medspacy, twenty rules``: the same with a rule for each of twenty common findings alone;
- ``medspacy, twenty rules, sentencizer``: and with spaCy's quick sentence splitter in PyRuSH's place.

With ``--language zh`` the reports are Chinese and read by that pack alone, because medspaCy doesn't load for Chinese.
How many sentences are distinct is printed with the rates: a hospital's repeat, and what repeats is read once.

medspaCy's part is only findings with ConText flags. Its target matcher slows with every rule: all 23,000 phrases of the
pack can't be given to it. It is slow enough that only the first ``--stock`` texts are.
"""

import argparse
import json
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from dicomnlp.analyse import analysis_to_json
from dicomnlp.analyse.engine import Engine, load_engine
from dicomnlp.analyse.library import spacy
from dicomnlp.analyse.pack import LANGUAGES, Pack, read_pack
from dicomnlp.analyse.sections import SectionFinder
from dicomnlp.analyse.sentences import SentenceSplitter
from dicomnlp.model import Narrative

TARGETS = [
    "pneumonia", "effusion", "pleural effusion", "pneumothorax", "consolidation", "atelectasis", "nodule", "mass",
    "opacity", "cardiomegaly", "edema", "fracture", "lesion", "stenosis", "hemorrhage", "hernia", "cyst", "stone",
    "infarct", "infiltrate",
]  # fmt: skip
LENGTHS = (1_000, 10_000, 100_000)
"""Characters of the texts on which the cost for each character is measured."""


def seconds(read: Callable[[str], object], texts: Sequence[str], first: Callable[[str], object] | None = None) -> float:
    """Processor seconds for one text, after all of them have been read once, by `first` if that is given."""
    for text in texts:
        (first or read)(text)
    started = time.process_time()
    for text in texts:
        read(text)
    return (time.process_time() - started) / len(texts)


def dicomnlp_reader(pack: Pack, *, cache: bool = True, as_json: bool = False) -> Callable[[str], object]:
    """All of analysis, with nothing in the cache."""
    engine = Engine(pack, cache=cache)

    def read(text: str) -> object:
        narrative = Narrative(text)
        analysis = engine.analyse(narrative)
        return json.dumps(analysis_to_json(None, narrative, analysis)) if as_json else analysis

    return read


def seconds_of_ours(pack: Pack, texts: Sequence[str], *, cache: bool = True, as_json: bool = False) -> float:
    """Processor seconds for one text; what reads them before is an engine with a cache of its own."""
    before, read = (dicomnlp_reader(pack, cache=cache, as_json=as_json) for _ in range(2))
    return seconds(read, texts, before)


def stock_reader(terms: Sequence[str], *, sentencizer: bool) -> Callable[[str], object]:
    """What reads a text as medspaCy's documentation does."""
    import medspacy  # noqa: PLC0415  # after dicomnlp, which mutes what it prints
    from medspacy.target_matcher import TargetRule  # noqa: PLC0415

    if sentencizer:
        nlp = spacy.blank("en")
        for name in ("sentencizer", "medspacy_target_matcher", "medspacy_context"):
            nlp.add_pipe(name)
    else:
        nlp = medspacy.load()
    nlp.get_pipe("medspacy_target_matcher").add([TargetRule(words, "FINDING") for words in terms])

    def read(text: str) -> object:
        return [(e.text, e._.is_negated, e._.is_uncertain, e._.is_historical) for e in nlp(text).ents]

    return read


def print_lengths(name: str, read: Callable[[str], object], longest: str, characters: int) -> None:
    """Print what a character costs in texts of each length, of which as many are read as have so many characters."""
    print(f"\n{name}: cost for each character")
    first = 0.0
    for length in LENGTHS:
        whole = longest * (length // len(longest) + 1)
        texts = [whole[i : i + length] for i in range(0, max(characters, length), length)]
        each = seconds(read, texts) / length
        first = first or each
        print(f"  {length:7} characters: {1e6 * each:.2f} microseconds, {each / first:.2f} of the shortest", flush=True)


def long_texts(text: str) -> dict[str, str]:
    """`text` repeated: as one sentence of a megabyte, and as a report of ten."""
    one_line = " ".join(re.sub(r"[.?!:;\n]", " ", text).split()).lower()
    return {
        "one sentence of 1 MB": ((one_line + " ") * (10**6 // len(one_line) + 1))[: 10**6],
        "a report of 10 MB": ((text + "\n") * (10**7 // len(text) + 1))[: 10**7],
    }


def rates(path: Path, language: str) -> None:
    """Print reports a second of processor time, with the cache and without."""
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    pack = read_pack(LANGUAGES / language)
    sections, splitter = (
        SectionFinder(pack.sections),
        SentenceSplitter(pack.sentences, pack.about.limits.sentence_characters),
    )
    sentences = [
        text[start:end]
        for text in texts
        for section in sections.find(Narrative(text))
        for start, end in splitter.split(text, section.body_start, section.end)
    ]
    print(f"{path.stem}: {len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters on average")
    print(f"  {len(set(texts))} texts are distinct, and of {len(sentences)} sentences {len(set(sentences))}")
    for cache in (True, False):
        each = seconds_of_ours(pack, texts, cache=cache)
        print(f"  {'with' if cache else 'without'} the cache: {1 / each:.0f} reports a CPU-second")
    each = seconds_of_ours(pack, texts, as_json=True)
    print(f"  with the cache, and the answer written as JSON: {1 / each:.0f} reports a CPU-second")


def main() -> None:
    """Print milliseconds a report for each file, and microseconds a character for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--stock", type=int, default=300, help="texts given to medspaCy")
    parser.add_argument("--language", default="en", help="of the reports; medspaCy reads English alone")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.language != "en":
        for path in asked.reports:
            rates(path, asked.language)
        return

    started = time.process_time()
    load_engine("en")
    print(f"loading the English pack with its cases: {time.process_time() - started:.2f} s")

    pack = read_pack(LANGUAGES / "en")
    concepts = pack.concepts.values()
    first_terms = sorted({concept.terms[0] for concept in concepts if concept.terms})
    readers = {
        "medspacy": stock_reader(first_terms, sentencizer=False),
        "medspacy, twenty rules": stock_reader(TARGETS, sentencizer=False),
        "medspacy, twenty rules, sentencizer": stock_reader(TARGETS, sentencizer=True),
    }
    every: list[str] = []
    for path in asked.reports:
        with path.open(encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        every += texts
        few = texts[: asked.stock]
        print(f"\n{path.stem}: {len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters on average")
        ours = {
            "dicomnlp": seconds_of_ours(pack, texts),
            "dicomnlp without the cache": seconds_of_ours(pack, texts, cache=False),
            f"dicomnlp, first {len(few)} alone": seconds_of_ours(pack, few),
            "dicomnlp and its JSON": seconds_of_ours(pack, texts, as_json=True),
        }
        for name, each in ours.items():
            print(f"  {name:36} {1000 * each:8.2f} ms a report")
        for name, reader in readers.items():
            each = seconds(reader, few)
            shares = ", ".join(f"{mine / each:.3f}" for mine in ours.values())
            print(f"  {name:36} {1000 * each:8.2f} ms a report; dicomnlp takes {shares} of it")

    longest = "\n".join(every)
    print_lengths("dicomnlp, without the cache", dicomnlp_reader(pack, cache=False), longest, LENGTHS[-1])
    for name, reader in readers.items():
        print_lengths(name, reader, longest, LENGTHS[1])
    print("\nlong ones; a worker is stopped after 60 s by default")
    for name, text in long_texts(longest).items():
        print(f"  {name}: {seconds(dicomnlp_reader(pack), [text], lambda _: None):.1f} s")


if __name__ == "__main__":
    main()
