"""Whether vectors of a site's own reports find the synonyms that its lexicon lacks: ten are withheld from it.

    python benchmarks/neighbours.py --reports 20000 --out figures.json
    python benchmarks/neighbours.py --corpus REPORTS.jsonl

Trains on reports of synthetic.py, in which any finding of an examination may stand anywhere, each with what one of 24
made-up radiologists says further (sentences/radiologists.toml): they write different sentences and have different
favourites among a concept's terms, so that a withheld synonym and the terms that are left share company as they do in
reports. With ``--corpus`` it trains on the ``text`` of a file's records instead, and of every concept of which at least
two terms without a common word are written 20 times, the second commonest is withheld. A term that holds a withheld one
is withheld with it. Told of each: its rank among what is proposed for its concept, its rank among all neighbours, and,
the other way round, the rank of the first neighbour of the synonym that the lexicon knows as the concept.
"""

import argparse
import itertools
import json
import random
import resource
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from measured import about
from synthetic import SENTENCES, Generator

from dicomnlp.learn.features import Preprocessor, joined, tokens_of
from dicomnlp.learn.neighbours import Lexicon, Neighbourhood
from dicomnlp.learn.units import Words, find_units, read_corpus
from dicomnlp.learn.vector_files import VectorCard, lexicon_terms, write_vectors
from dicomnlp.learn.vectors import ROWS, SUBWORDS, train_vectors

RADIOLOGISTS = 24
SHARE = 0.5
"""Of all sentences, those that a radiologist ever writes."""
TOP = 10
OFTEN = 20
REGIONS = {"CHEST": "chest", "ABDOMEN": "abdomen", "HEAD": "head", "LSPINE": "bone", "BREAST": "chest"}


class Radiologist:
    """Who writes in a way of their own."""

    def __init__(self, number: int, grammar: dict[str, Any], terms: dict[str, list[str]]) -> None:
        chance = random.Random(f"radiologist/{number}")  # noqa: S311  reports, not secrets
        self._shared = _some(grammar["shared"], chance)
        self._regions = {r: grammar[r] for r in dict.fromkeys(REGIONS.values())}
        self._own = {c: _some(e["own"], chance) for region in self._regions.values() for c, e in region.items()}
        self._terms = {c: chance.sample(words, len(words)) for c, words in terms.items()}

    def paragraph(self, region: str, chance: random.Random) -> str:
        """What they add to a report."""
        said = []
        for concept in chance.sample(sorted(self._regions[region]), chance.randint(1, 3)):
            entry = self._regions[region][concept]
            pattern = chance.choice(self._own[concept] if chance.random() < 0.4 else self._shared)
            # the favourite half of the time, the next a quarter, ...
            rank = min(int(chance.expovariate(0.7)), len(self._terms[concept]) - 1)
            sentence = pattern.format(
                finding=self._terms[concept][rank],
                site=chance.choice(entry["sites"]),
                degree=chance.choice(entry["degrees"]),
            )
            said.append(sentence[0].upper() + sentence[1:])
        return " ".join(said)


def _some(sentences: list[str], chance: random.Random) -> list[str]:
    return chance.sample(sentences, max(2, round(len(sentences) * SHARE)))


def written(count: int, grammar: dict[str, Any], preprocessor: Preprocessor) -> Iterator[str]:
    """So many English reports."""
    withheld = grammar["withheld"]
    terms = {
        concept: list(
            dict.fromkeys([*preprocessor.pack.concepts[concept].terms[:4], *filter(None, [withheld.get(concept)])])
        )
        for region in dict.fromkeys(REGIONS.values())
        for concept in grammar[region]
    }
    radiologists = [Radiologist(n, grammar, terms) for n in range(RADIOLOGISTS)]
    generator = Generator()
    reports = (generator.report(n) for n in itertools.count())
    for report in itertools.islice((r for r in reports if r.language == "en"), count):
        chance = random.Random(f"paragraph/{report.number}")  # noqa: S311  reports, not secrets
        # a musculoskeletal service reads what isn't of the spine alone
        region = REGIONS[report.body_part_examined] if chance.random() < 0.8 else "bone"
        yield f"{report.text}\n{chance.choice(radiologists).paragraph(region, chance)}"


def seconds(texts: list[str], preprocessor: Preprocessor) -> dict[str, str]:
    """Concept -> its second commonest term in `texts`."""
    counts = find_units(read_corpus(texts, preprocessor), preprocessor, lexicon_terms(preprocessor), least=OFTEN)
    found = {}
    for concept, entry in preprocessor.pack.concepts.items():
        terms = sorted((t for t in map(tokens_of, entry.terms) if t in counts), key=lambda t: -counts[t])
        others = [t for t in terms[1:] if not set(t) & set(terms[0])]
        if others:
            found[concept] = joined(others[0])
    return found


def main() -> None:
    """Train, ask, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20_000)
    parser.add_argument("--corpus", type=Path, help="JSONL with `text`")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    machine = about()
    grammar = tomllib.loads((SENTENCES / "radiologists.toml").read_text(encoding="utf-8"))
    preprocessor = Preprocessor("en")
    if asked.corpus:
        texts = [json.loads(line)["text"] for line in asked.corpus.read_text(encoding="utf-8").splitlines()]
        synonyms = seconds(texts, preprocessor)
    else:
        texts = list(written(asked.reports, grammar, preprocessor))
        synonyms = grammar["withheld"]
    pack = preprocessor.pack
    hidden: frozenset[Words] = frozenset(
        tokens_of(form) for synonym in synonyms.values() for form in (synonym, pack.about.plural(synonym)) if form
    )
    lexicon = Lexicon(pack, hidden)
    known = {words for words in lexicon_terms(preprocessor) if lexicon.concept(words) is not None}
    started, processor = time.monotonic(), time.process_time()
    corpus = read_corpus(texts, preprocessor)
    units = find_units(corpus, preprocessor, known)
    keys = [joined(words) for words in units]
    table = train_vectors(corpus, units, keys, on_step=print)
    cost = {"seconds": time.monotonic() - started, "processor": time.process_time() - processor}
    cost["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    data = {"reports": corpus.reports, "sentences": corpus.written, "distinct_sentences": len(corpus.sentences)}
    card = VectorCard(
        format=1,
        name="measured",
        language="en",
        created_at="",
        pipeline="",
        rows=ROWS,
        dimensions=table.shape[1],
        least_letters=SUBWORDS.least,
        most_letters=SUBWORDS.most,
        data=data,
    )
    with tempfile.TemporaryDirectory() as place:
        counted = dict(zip(keys, units.values(), strict=True))
        hood = Neighbourhood(write_vectors(Path(place) / "measured", card, counted, table), lexicon)
    rows = []
    for concept, synonym in synonyms.items():
        proposed, among = ([n.text for n in hood.of(concept, 1000, unknown=u).neighbours] for u in (True, False))
        back = [n.concept == concept and not n.part for n in hood.of(synonym, 1000).neighbours]
        rows.append(
            {
                "concept": concept,
                "synonym": synonym,
                "written": counted.get(synonym, 0),
                "proposed": _rank([word == synonym for word in proposed]),
                "among_all": _rank([word == synonym for word in among]),
                "back": _rank(back),
                "first_proposed": proposed[:TOP],
            }
        )
    figures = {
        "machine": machine,
        "corpus": {**data, "units": len(units)},
        "cost": cost,
        "in_top_ten": {
            way: sum(r[way] is not None and r[way] <= TOP for r in rows) for way in ("proposed", "among_all", "back")
        },
        "of": len(rows),
        "synonyms": rows,
    }
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if asked.out:
        asked.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")


def _rank(fits: list[bool]) -> int | None:
    """From 1; None where nothing fits."""
    return fits.index(True) + 1 if True in fits else None


if __name__ == "__main__":
    main()
