"""How likely it is that a decoded text is what its writer meant, judged by characters and the words they stand in.

No language model and no statistics of a language: only that a word keeps to one script and a usual pattern of capitals,
that Chinese and Japanese text uses frequent characters, and that nobody writes control characters. It serves to tell a
right decoding from a wrong one of the same bytes, not to recognise languages.
"""

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W\d_]+")
_COMMON_SYMBOLS = frozenset(
    "°±µ²³¹·×÷–—‘’“”„…•€£§«»¿¡½¼¾®©™ªº≤≥≈→←↑↓℃％～、。，；：？！（）【】《》「」『』〈〉〔〕・ー－／＋＝＜＞Ⅰ"
    "ⅡⅢⅣⅤⅥ①②③④⑤⑥⑦⑧⑨⑩㎝㎜㎡㎎㎏\u00a0\u3000\u200b\ufeff´`¨¬№"
)
_SOUTHERN, _EASTERN = (re.compile(letters, re.IGNORECASE) for letters in ("[ђѓћќџљњјѕ]", "[ъыэщюяйё]"))
"""Cyrillic letters of Serbian and Macedonian, and of Russian and its neighbours: no alphabet has both."""
_LEVEL_ONE = (("gb2312", 0xB0, 0xD7), ("shift_jis", 0x88, 0x98), ("big5", 0xA4, 0xC6))
"""Codec and lead bytes of its frequent ideographs: the first level of GB 2312, JIS X 0208 and Big5."""


@lru_cache(maxsize=8192)
def _is_frequent_ideograph(character: str) -> bool:
    for codec, low, high in _LEVEL_ONE:
        try:
            if low <= character.encode(codec)[0] <= high:
                return True
        except UnicodeEncodeError:
            continue
    return False


@lru_cache(maxsize=8192)
def _script(character: str) -> str:
    """The script's name as Unicode character names begin: LATIN, CYRILLIC, CJK, HANGUL ..."""
    name = unicodedata.name(character, "").split(" ", 1)[0]
    return {"HIRAGANA": "CJK", "KATAKANA": "CJK", "FEMININE": "LATIN", "MASCULINE": "LATIN", "MICRO": "LATIN"}.get(
        name, name
    )


def _word_weight(word: str) -> float:
    """Plausibility of each non-ASCII letter of `word`, a run of letters."""
    scripts = {_script(c) for c in word}
    non_ascii = sum(c >= "\x80" for c in word)
    if scripts & {"CJK", "HANGUL"}:
        ideographs = [c for c in word if "\u3400" <= c <= "\u9fff" or c >= "\U00020000"]
        frequent = sum(map(_is_frequent_ideograph, ideographs))
        weight = 1.0 - 0.8 * (len(ideographs) - frequent) / max(1, len(ideographs))
        # a syllable or ideograph caught between Latin letters is two letters read as one
        caught = len(re.findall(r"[A-Za-z][^\x00-\x7f]{1,2}(?=[a-z])", word))
        return weight * (0.2 if caught else 1.0)
    if len(scripts) > 1:
        return 0.2
    usual_capitals = word.islower() or word.isupper() or word[1:].islower() or word.lower() == word.upper()
    weight = 1.0 if usual_capitals else 0.2
    if _SOUTHERN.search(word) and _EASTERN.search(word):
        weight *= 0.2
    if scripts == {"LATIN"} and non_ascii > 3 and non_ascii * 2 > len(word):
        weight *= 0.2
    return weight


def plausibility(text: str) -> float:
    """The share of non-ASCII characters in `text` that make sense where they stand: 0 to 1; 1 when there are none."""
    total = 0
    good = 0.0
    for word in _WORD.findall(text):
        non_ascii = sum(c >= "\x80" for c in word)
        if non_ascii:
            total += non_ascii
            good += non_ascii * _word_weight(word)
    for match in re.finditer(r"[^\x00-\x7f]", text):
        character = match.group()
        if _WORD.match(character):
            continue
        total += 1
        if character in _COMMON_SYMBOLS:
            good += 0.8
        elif unicodedata.category(character) in ("Mn", "Mc", "Nd", "Lm"):
            good += 1.0
        elif unicodedata.category(character)[0] in "PSZ":
            good += 0.3
    return good / total if total else 1.0
