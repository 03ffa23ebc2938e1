"""Words about papers: what an engine sent as plain text, plain text as LaTeX, and words to compare by."""

import html
import re
import unicodedata

TAG = re.compile(
    r"</?(?:i|b|em|strong|sub|sup|sc|scp|tt|u|p|br|span|title|inline-formula|tex-math|math|[a-z]+:[a-z]+)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
WORD = re.compile(r"[a-z0-9]+")
COMMON = {"a", "an", "and", "by", "for", "from", "in", "is", "of", "on", "the", "to", "with"}

# --- LaTeX to plain text ------------------------------------------------------------------------

MARKS = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", '"': "\u0308", "=": "\u0304", ".": "\u0307",
         "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323",
         "b": "\u0331"}  # fmt: skip
ACCENT = re.compile(r"""\\([`'^~"=.]|[uvHckrdb](?=[\s{]))\s*(?:\{\s*\\?([A-Za-z])\s*\}|\\?([A-Za-z]))""")
LETTERS = {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
           "ı": "i", "đ": "dj", "Đ": "DJ", "þ": "th", "Þ": "TH", "ð": "dh", "Ð": "DH"}  # fmt: skip
COMMANDS = {command: letter for letter, command in LETTERS.items()} | {"aa": "å", "AA": "Å"}
FORMULA = re.compile(r"\$(?!\s)([^$]{1,200}?)(?<!\s)\$")


def clean(text: str) -> str:
    """What an engine sent, as plain text in one line: no entities, no tags, no LaTeX, no control characters."""
    text = TAG.sub("", html.unescape(html.unescape(text)))
    if re.search(r"[\\${}]", text):
        text = text.replace("\\\\", " ")
        text = ACCENT.sub(lambda m: (m[2] or m[3]) + MARKS[m[1]], text)
        text = re.sub(r"\\([A-Za-z]+)\*?\s?", lambda m: _symbol(m[1]), text)
        text = re.sub(r"\\([&%$#_{}])", r"\1", FORMULA.sub(r"\1", text))
        text = re.sub(r"[{}]|\\", "", text)
    kept = (letter if unicodedata.category(letter)[0] != "C" else " " * letter.isspace() for letter in text)
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def _symbol(command: str) -> str:
    """A Greek letter or a special one; of other commands only what they stand before is kept."""
    if command in COMMANDS:
        return COMMANDS[command]
    case = "CAPITAL" if command[0].isupper() else "SMALL"
    name = command.lower().removeprefix("var").replace("lambda", "lamda")
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name}")
    except KeyError:
        return ""


# --- plain text to LaTeX ------------------------------------------------------------------------

SIGNS = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": "", "}": "", "\\": " ", "<": "{$<$}", ">": "{$>$}",
    "|": "{$|$}", "~": r"{\textasciitilde}", "^": r"{\textasciicircum}", "–": "--", "—": "---", "‘": "`", "’": "'",
    "“": "``", "”": "''", "‐": "-", "‑": "-", "−": "{$-$}", "±": r"{$\pm$}", "×": r"{$\times$}", "÷": r"{$\div$}",
    "≤": r"{$\leq$}", "≥": r"{$\geq$}", "≠": r"{$\neq$}", "≈": r"{$\approx$}", "∞": r"{$\infty$}", "∈": r"{$\in$}",
    "→": r"{$\rightarrow$}", "↔": r"{$\leftrightarrow$}", "∇": r"{$\nabla$}", "∂": r"{$\partial$}", "√": r"{$\surd$}",
    "·": r"{$\cdot$}", "⋅": r"{$\cdot$}", "∗": "*", "′": "'", "ʼ": "'", "«": "``", "»": "''", "„": "``",
}  # fmt: skip
GREEK = {"ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA", "LAMBDA", "MU",
         "NU", "XI", "PI", "RHO", "SIGMA", "TAU", "UPSILON", "PHI", "CHI", "PSI", "OMEGA"}  # fmt: skip
# Greek letters that LaTeX takes from the Latin ones.
ROMAN = {"ALPHA": "A", "BETA": "B", "EPSILON": "E", "ZETA": "Z", "ETA": "H", "IOTA": "I", "KAPPA": "K", "MU": "M",
         "NU": "N", "OMICRON": "O", "RHO": "P", "TAU": "T", "CHI": "X"}  # fmt: skip
ACCENTS = {mark: sign for sign, mark in MARKS.items()}


def spell(text: str) -> str:
    """Plain text as LaTeX in ASCII; letters that LaTeX has no sign for are left out.

    Each accent stands in braces, `{\\'e}`, which BibTeX counts as one letter: it can sort, shorten and lower it.
    """
    return "".join(map(_letter, unicodedata.normalize("NFC", text)))


def tex(text: str) -> str:
    """The same in one line."""
    return " ".join(spell(text).split())


def to_ascii(markup: str) -> str:
    """The same for text that is LaTeX already: only what is not ASCII changes."""
    # A backslash before such a letter or at the end is no command, and would hide the brace that comes after it.
    letters = re.sub(r"\\+(?=\s*$|[^\x00-\x7f])", "", unicodedata.normalize("NFC", markup))
    return " ".join("".join(c if ord(c) < 128 else _letter(c) for c in letters).split())


def _letter(letter: str) -> str:
    if letter in SIGNS:
        return SIGNS[letter]
    if ord(letter) < 128 or letter.isspace():
        return letter if letter.isprintable() and ord(letter) < 128 else " "
    if letter in LETTERS:
        return f"{{\\{LETTERS[letter]}}}"
    base, *marks = unicodedata.normalize("NFD", letter)
    if base.isascii() and base.isalpha() and marks:
        return f"{{\\{sign}{{{base}}}}}" if (sign := ACCENTS.get(marks[0])) else base
    if unicodedata.name(base, "").startswith("GREEK") and base.isalpha():
        return _greek(base)
    plain = unicodedata.normalize("NFKC", letter)
    return "".join(map(_letter, plain)) if plain != letter else ""


def _greek(letter: str) -> str:
    name = unicodedata.name(letter).split()[-1].replace("LAMDA", "LAMBDA")
    if name == "OMICRON" or (name in ROMAN and letter.isupper()):
        return ROMAN[name] if letter.isupper() else "o"
    command = name.capitalize() if letter.isupper() else name.lower()
    return rf"{{$\{command}$}}" if name in GREEK else ""


# --- words to compare by ------------------------------------------------------------------------


def fold(text: str) -> str:
    """Small letters without accents."""
    marked = unicodedata.normalize("NFKD", clean(text).casefold())
    return "".join(letter for letter in marked if not unicodedata.combining(letter))


def plain(text: str) -> str:
    """The letters and digits alone, in which two ways to write one title are the same."""
    return "".join(letter for letter in fold(text) if letter.isalnum())


def words(text: str) -> list[str]:
    """The words that tell a paper from others, without the s of a plural."""
    found = (word.rstrip("s") for word in WORD.findall(fold(text)) if word not in COMMON)
    return [word for word in found if word]
