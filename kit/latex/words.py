"""Letters that pdflatex does not know, as commands that it does."""

import unicodedata

from kit.schemas import FormatError

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
GREEK = dict(zip(
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ",
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(),
    strict=True,
))  # fmt: skip
SIGNS = {"≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "∼": "sim", "→": "rightarrow", "←": "leftarrow",
         "⇒": "Rightarrow", "↔": "leftrightarrow", "∈": "in", "∞": "infty", "∇": "nabla", "∂": "partial", "∑": "sum",
         "∏": "prod", "∫": "int", "⋅": "cdot", "∥": "Vert", "∝": "propto", "±": "pm", "×": "times", "÷": "div", "−": "-",
         "∀": "forall", "∃": "exists", "⊂": "subset", "∪": "cup", "∩": "cap", "√": "surd", "↑": "uparrow",
         "↓": "downarrow", "ℓ": "ell", "′": "prime"}  # fmt: skip
TEXT = {"–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}", "•": r"\textbullet{}",
        "\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,", "\u2011": "-", "\u200b": "", "\ufeff": "", "°": r"\textdegree{}",
        "ﬁ": "fi", "ﬂ": "fl"}  # fmt: skip
MATHS = {sign: (rf"\{name}" if name.isalpha() else name) for sign, name in (GREEK | SIGNS).items()}


def escape(text: str) -> str:
    """Plain text as LaTeX."""
    return to_latex("".join(SPECIAL.get(letter, letter) for letter in text))


def to_latex(text: str) -> str:
    """LaTeX with every letter that pdflatex cannot set replaced; FormatError names one that has no replacement."""
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> str:
    if ord(letter) < 128:
        return letter if letter >= " " or letter in "\n\t" else ""
    if letter in TEXT:
        return TEXT[letter]
    if letter in MATHS:  # \ensuremath is right both inside and outside of a formula
        return rf"\ensuremath{{{MATHS[letter]}}}"
    if unicodedata.name(letter, "").startswith("LATIN ") and ord(letter) < 0x180:  # é, ö, ł: T1 has them
        return letter
    name = unicodedata.name(letter, "a letter without a name")
    raise FormatError(f"pdflatex cannot set {letter!r} ({name}): write it as a LaTeX command or leave it out.")
