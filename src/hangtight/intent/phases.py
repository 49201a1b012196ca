"""What the model is at: exploring, coding, explaining or concluding, told from little text."""

from __future__ import annotations

import re

from hangtight.intent.findings import Channel, Doing

SAMPLE = 240
"""So much of a text is looked at, its end: a phase lasts for paragraphs, and reading all of it would cost too much."""
FEWEST_LETTERS = 8
GLANCE = 100
"""A text this short is read by its lines whatever its symbols: "import sys" has none."""
SYMBOLS = b"(){}[];=<>_"
DENSE = 0.085
"""From this share of symbols on a text is code whatever its lines begin with. Prose with links has half of it."""
SPARSE = 0.025
"""Below this share it is prose, though a line may begin with "return"."""
PROSE = 0.28
"""From this share of little words on it is prose, though it quotes some code."""
CLEAR = 0.75
"""So sure a segment must be to change the phase by itself; two in a row that agree need not be."""
LONGEST_LINE_KEPT = 80

_CODE = re.compile(
    r"^[ \t]*(?:"
    r"(?:async |export |default |pub |public |private |protected |static |final |abstract )*"
    r"(?:def|class|fn|func|function|struct|enum|interface|impl|trait|namespace|module|package|void|sub)"
    r" ?[\w*<(]+[^\n.]{0,40}[({:;<\n]"
    r"|(?:from [\w.]+ )?import [\w.{*\"'(]+|#include\b|#!|#define\b|using [\w.:]+;|use [\w:]+;|require\b"
    r"|(?:if|for|while|switch|catch|foreach|elif|with|match) ?[^\n]{1,80}[:{]$|(?:if|for|while|switch) ?\("
    r"|(?:else|try|finally|do)\b ?[:{]|except\b[^\n]*:$"
    r"|(?:const|var|let|auto|int|float|double|char|bool|val)\b[^\n]{1,40}[=;]"
    r"|return\b(?:[ (;]|$)|raise \w|throw |await |yield |break;?$|continue;?$|pass$|end$|fi$|done$|esac$"
    r"|(?:SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|FROM|WHERE|GROUP BY|ORDER BY|LEFT JOIN|JOIN) "
    r"|</?[a-zA-Z!?][^\n]{0,80}>|//|/\*|\*/|--\s|@\w+|[}\])]+[;,)]*$"
    r"|\$ \w|(?:sudo|echo|cd|git|pip|npm|docker|curl|mkdir|apt|apt-get|export|chmod|cat|grep) [\w./$\"'-]+"
    r"|[\"'][^\"'\n]{1,40}[\"']\s*[:=]|[\w.\[\]\"'$]+ ?(?:[-+*/|&:]?=)[^=\n]|[\w.]+\([^)\n]*\)[;{]?$"
    r"|\.[\w-]+ ?\{|[\w-]+: [^\n]{1,40};$"
    r")",
    re.MULTILINE,
)
_LATEX = re.compile(
    r"\\(?:frac|sqrt|begin|text|boxed|cdot|left|right|sum|int|times|mathbb|quad|leq?|geq?|pi|in\b|\(|\[)"
)
_CONCLUDING = re.compile(
    r"in summary|in conclusion|in short,|to (?:summarize|summarise|sum up|conclude)|finally,|overall,|final answer"
    r"|boxed\{|therefore,? (?:the|our|we get|we have)|hence,? the|(?:so|thus),? the answer|the answer is"
    r"|that['’]s (?:it|all)\b"
    r"|let me know if|hope (?:this|that) helps|feel free to|if you (?:have any|need any)|all (?:done|tests pass)"
    r"|zusammenfassend|zusammengefasst|abschließend|lass mich wissen|ich hoffe, |die antwort (?:ist|lautet)|fazit"
    r"|en résumé|en conclusion|pour (?:conclure|résumer)|n['’]hésitez pas|la réponse est"
    r"|en resumen|en conclusión|para concluir|por último|espero que|la respuesta es"
    r"|总之|綜上|综上|总结|總結|因此，?答案|所以，?答案|希望(?:这|這|对|對)|最后，|最後，"
    r"|まとめ|結論|以上です|最後に|要するに|お役に立て"
)
_EXPLORING = re.compile(
    r"\b(?:wait|hm+|maybe|perhaps|let me(?! know)|let['’]s|let us|i (?:need|should|wonder|could|might|will|am going) "
    r"|i['’]ll|first look|looking|not sure|what if|alternatively|actually|might|suppose|check (?:if|whether|the)"
    r"|vielleicht|moment|mal sehen|peut-être|voyons|attends|quizás|tal vez|veamos|espera)\b"
    r"|\?|让我|也许|可能|等等|等一下|不对|待って|かもしれ|見てみ|？"
)
_CONCLUDES = """
summary conclusion short summarize summarise sum conclude finally overall final therefore hence answer that's done tests
hope feel know any boxed zusammenfassend zusammengefasst lass hoffe antwort fazit fazit: pour resumen concluir que
respuesta
"""
_EXPLORES = """
wait hm hmm hmmm maybe perhaps let let's i i'll look looking sure what alternatively actually might suppose check
vielleicht moment mal voyons attends tal veamos espera
"""
_CONCLUDING_WORDS, _EXPLORING_WORDS = frozenset(_CONCLUDES.split()), frozenset(_EXPLORES.split())
"""Each phrase in plain letters has one of these; a text with other letters is searched anyway."""
_LETTERS = re.compile(rf"(?:[^\W\d_][\W\d_]*+){{{FEWEST_LETTERS}}}")
_DENSE_SCRIPT = re.compile(rf"(?:[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af][\W\d_]*+){{{FEWEST_LETTERS // 2}}}")
_FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
_LITTLE = """
the a an of to and in is that it for on as with this be are by from at or we you i not can which will was its if so
der die das und ist nicht ein eine zu den mit le la les de et un une est des que el los en y por con se
"""
_LITTLE_WORDS = frozenset(_LITTLE.split())


def doing(text: str, channel: Channel, *, fenced: bool = False) -> tuple[Doing | None, float]:
    """What somebody who writes this is at, and how sure that is. None where too little stands there to tell.

    `fenced`: the text begins inside a fence of code. It never says stuck: one stretch of text cannot show that.
    """
    mark, after = _through_fences(text, "```" if fenced else "", whole=True)
    rest = text[after:]
    told = rest if _LETTERS.search(rest) or mark else text
    if not _LETTERS.search(told) and not _DENSE_SCRIPT.search(told):
        return None, 0.0
    if mark or channel is Channel.TOOL or (after and told is text):
        return Doing.CODING, 0.95
    return _of_plain(told[-SAMPLE:], channel)


def _of_plain(sample: str, channel: Channel) -> tuple[Doing, float]:
    sure = _code_likeness(sample)
    if sure > 0.5:
        return Doing.CODING, sure
    low = sample.lower()
    words = low.replace(",", " ").replace(".", " ").split()
    # a search for each phrase costs more than all else: one of its words must be there
    if not (low.isascii() and _CONCLUDING_WORDS.isdisjoint(words)) and _CONCLUDING.search(low):
        return Doing.CONCLUDING, 0.8
    if channel is Channel.REASONING:
        return Doing.EXPLORING, 0.75
    if low.isascii() and _EXPLORING_WORDS.isdisjoint(words) and "?" not in low:
        return Doing.EXPLAINING, 0.7
    hedges = len(_EXPLORING.findall(low))
    if hedges * SAMPLE > len(sample) * 2 or (hedges and low.lstrip().startswith(("let me", "let's", "hm", "wait"))):
        return Doing.EXPLORING, min(0.9, 0.6 + 0.05 * hedges)
    return Doing.EXPLAINING, 0.7


def _code_likeness(sample: str) -> float:
    """From 0, prose, to 1, code."""
    raw = sample.encode("utf-8", "replace")
    share = (len(raw) - len(raw.translate(None, SYMBOLS))) / len(sample)
    if share < SPARSE and len(sample) > GLANCE:
        return 0.0
    latex = "\\" in sample and _LATEX.search(sample) is not None
    if share >= 2 * DENSE and not latex:
        return 0.95
    lines = len(_CODE.findall(sample))
    if latex:
        return 0.7 if lines > 2 else 0.2
    if lines < 3:
        words = sample.lower().split()
        if len(words) > 7 and sum(map(_LITTLE_WORDS.__contains__, words)) > PROSE * len(words):
            return 0.3
    if share >= DENSE or lines:
        return min(0.95, 0.55 + 2.0 * share + 0.05 * lines)
    return 0.2


def _through_fences(text: str, mark: str, *, whole: bool) -> tuple[str, int]:
    """The fence that is open at the end, "" for none, and where the last line that is a fence ends.

    The last line counts only if it is whole: what follows may change what it is.
    """
    if "```" not in text and "~~~" not in text:
        return mark, 0
    after = 0
    for line in _FENCE.finditer(text):
        if not whole and line.end() == len(text):
            break
        fence, rest = line[1], line[2]
        if mark:
            if fence.startswith(mark) and not rest.strip():
                mark, after = "", line.end()
        elif "`" not in rest:
            mark, after = fence, line.end()
    return mark, after


class Phases:
    """Follows the phase of one channel's text, segment by segment, and does not flicker."""

    __slots__ = ("_channel", "_fence", "_line", "_next", "_rests", "confidence", "doing")

    def __init__(self, channel: Channel) -> None:
        self.doing: Doing | None = None
        self.confidence = 0.0
        self._channel = channel
        self._fence = ""
        self._line = ""
        self._next: Doing | None = None
        self._rests = True

    @property
    def fenced(self) -> bool:
        """Whether a fence of code is open."""
        return bool(self._fence)

    def glance(self, text: str) -> tuple[Doing | None, float]:
        """What `text`, which goes on where the last segment ended, looks like. Changes nothing."""
        return doing(
            self._line[:LONGEST_LINE_KEPT] + text if "`" in self._line or "~" in self._line else text,
            self._channel,
            fenced=self.fenced,
        )

    def feed(self, segment: str) -> None:
        """Takes the next segment; `doing` and `confidence` are up to date afterwards."""
        text = self._line + segment if self._line else segment
        self._fence, after = _through_fences(text, self._fence, whole=False)
        last = text.rfind("\n") + 1
        # the head of an unfinished line tells whether it is a fence; the line may be as long as the text
        self._line = text[last : last + LONGEST_LINE_KEPT]
        if self._channel is Channel.TOOL or self.fenced:
            self._see(
                *doing(segment, self._channel, fenced=self.fenced) if self.doing is None else (Doing.CODING, 0.95)
            )
            return
        self._rests = not self._rests
        if self._rests and self.doing is not None and not after:
            return  # prose stays what it is for longer than a segment
        # a few words behind a closed fence say little: they are told by the segment that follows
        if len(text) - after >= SAMPLE or not after:
            self._see(*doing(segment[-SAMPLE:], self._channel))

    def _see(self, now: Doing | None, sure: float) -> None:
        if now is None:
            return
        if self.doing is None or now is self.doing or sure >= CLEAR or now is self._next:
            self.doing, self.confidence, self._next = now, sure, None
        else:
            self._next = now
