"""Does a prompt ask for repetition? Then a repetition in the answer is what was wanted, and proves less."""

from __future__ import annotations

import re

LONGEST_PROMPT = 4_000
"""Only the end of a prompt is looked at: what is asked stands there, and a long document above it costs nothing."""

MANY_TIMES = 10
MANY_LINES = 50
"""From how many rows or lines on a list is so long that it may look like a loop."""

_FLAGS = re.IGNORECASE
_NUMBER = r"(?<![\d,._'])(?P<n>\d[\d,._']{0,14}k?)"
_WORDS_FOR_MANY = r"(?:a )?(?:dozens?|hundreds?|thousands?|millions?|hundert|tausend|cent|mille|cien|mil)"

_REFUSED = re.compile(
    r"\b(?:not|n't|never|avoid|without|no|nicht|kein\w*|nie|ne|sans|sin|evita\w*)\s+(?:\w+\s+){0,2}?"
    r"(?:repeat\w*|repetitions?|wiederhol\w*|répét\w*|repit\w*|repet\w*)"
    r"|(?:不要|别|別|勿|避免|不)(?:再)?(?:重复|重複)|繰り返さ(?:な|ず)",
    _FLAGS,
)
"""What asks for the opposite; it is taken out before the rest is looked at."""

_ASKED = re.compile(
    r"\brepeat(?:ing|ed)?\b[^.\n]{0,120}\b(?:forever|times|endless\w*|over|again|infinite\w*|indefinitely|until)\b"
    r"|\brepeat (?:after me|only|it\b|this\b|that\b|(?:the |this |that |these |a |my )?"
    r"(?:following|words?|phrase|sentence|lines?|letters?|text|string|above|emoji|character|poem|symbol)\b)"
    r"|\b(?:again and again|over and over|for ?ever and ever|forever|endlessly|non-?stop|ad infinitum|ad nauseam)\b"
    r"|\binfinitely\b|\bindefinitely\b|\bwithout (?:ever )?(?:end|ending|stopping|a break)\b|\bnever stop\b"
    r"|\bas (?:many times|often|long) as (?:you|possible)\b"
    r"|\bkeep (?:on )?(?:saying|writing|printing|repeating|typing|going|generating|outputting)\b"
    r"|\bto the (?:token|length|output|context) limit\b|\b(?:mantra|chant|lorem ipsum|ascii[ -]art)\b"
    r"|\bcount (?:up |down )?(?:from|to)\b|\b(?:all )?(?:the )?numbers (?:from|between|1)\b|\bmultiplication tables?\b"
    r"|\b(?:dummy|filler|placeholder|mock|fake|padding) (?:data|text|rows|lines|records|entries|content)\b"
    r"|\b\d+ ?(?:x|×|\*|by|mal) ?\d+\b[^.\n]{0,40}\b(?:grid|matrix|board|square|pattern|table|field|array|raster|of)\b"
    r"|\b(?:grid|matrix|board|square|pattern|field|array|raster)\b[^.\n]{0,40}\b\d+ ?(?:x|×|\*|by|mal) ?\d+\b"
    r"|\b(?:fill|pad)(?:ed)?\b[^.\n]{0,60}\bwith (?:zeros?|zeroes|ones|dots|spaces|stars|blanks|x's)\b"
    rf"|\b{_WORDS_FOR_MANY} (?:of )?(?:times|copies|rows|lines|mal|fois|veces)\b"
    r"|\bwiederhol(?:e|t|en)\b|\bimmer wieder\b|\bendlos\b|\bfür immer\b|\bunendlich (?:oft|lange?)\b|\bunaufhörlich\b"
    r"|\brépét(?:er?|ez|ition)\b|\brépète[sz]?\b|\bencore et encore\b|\bà l['’]infini\b|\bsans (?:fin|arrêt|cesse)\b"
    r"|\brep[ií]t(?:e|a|elo|ela|an|en)\b|\brepet(?:ir|ición)\b|\buna y otra vez\b|\bpara siempre\b"
    r"|\bsin (?:parar|fin)\b"
    r"|重复|重複|反复|反覆|无限|無限|不停|一直(?:写|寫|说|說|输出|輸出)|永远|永遠|[十百千万萬]+(?:遍|次|行|回)"
    r"|繰り返|くり返|くりかえ|何度も|延々|ずっと(?:書|言|出力)",
    _FLAGS,
)

_TIMES = re.compile(
    rf"{_NUMBER}[ -]?(?:times|x\b|copies|repetitions?|mal\b|fois\b|veces\b|遍|次|回|個)"
    rf"|\b(?:times|x) ?{_NUMBER.replace('<n>', '<m>')}",
    _FLAGS,
)
_LINES = re.compile(
    rf"{_NUMBER}\s+(?:\w+\s+){{0,2}}(?:rows?|lines?|entries|records|items|dots|stars|zeros|zeroes|characters"
    rf"|words|letters|zeilen|zeichen|punkte|lignes|filas|líneas|lineas|puntos|['’]?s\b)"
    rf"|{_NUMBER.replace('<n>', '<m>')}\s*(?:行|条|條|件)",
    _FLAGS,
)


def asks_for_repetition(prompt: str) -> bool:
    """Whether the prompt asks for the same again and again, or for a list so long that it looks like it.

    It rather says yes once too often: yes only makes the rules more patient.
    """
    text = _REFUSED.sub(" ", prompt[-LONGEST_PROMPT:])
    return bool(_ASKED.search(text)) or _most(_TIMES, text) >= MANY_TIMES or _most(_LINES, text) >= MANY_LINES


def _most(pattern: re.Pattern[str], text: str) -> float:
    return max((_number(match["n"] or match["m"] or "") for match in pattern.finditer(text)), default=0.0)


def _number(text: str) -> float:
    """ "1,000" is a thousand, and so is "1k"."""
    digits = "".join(letter for letter in text if letter.isdecimal())[:12]
    return float(digits or 0) * (1_000.0 if text[-1:] in ("k", "K") else 1.0)
