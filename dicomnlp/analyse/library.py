"""The parts of spaCy and medspaCy that the engine stands on, imported without their side effects.

``import medspacy`` installs a filter that silences every warning of the process, and PyRuSH, which it imports, prints
each token of a report to standard error through loguru. The filters are put back, and PyRuSH is muted and never used.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import spacy
    import thinc.api as thinc
    from loguru import logger
    from medspacy.context import ConText, ConTextRule
    from medspacy.context.context_graph import ConTextGraph
    from medspacy.context.context_modifier import ConTextModifier
    from spacy.strings import hash_string  # type: ignore[attr-defined]  # of a compiled module

logger.disable("PyRuSH")
logger.disable("medspacy")

__all__ = [
    "ConText",
    "ConTextGraph",
    "ConTextModifier",
    "ConTextRule",
    "hash_string",
    "spacy",
    "thinc",
]
