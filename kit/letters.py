"""Letters that pdflatex does not know, as commands that it does; for every room that writes LaTeX."""

import re
import unicodedata

from kit.schemas import FormatError

SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
}
GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi",
    "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi",
    "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
SIGNS = {
    "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "∼": "sim", "→": "rightarrow", "←": "leftarrow",
    "⇒": "Rightarrow", "↔": "leftrightarrow", "∈": "in", "∞": "infty", "∇": "nabla", "∂": "partial",
    "∑": "sum", "∏": "prod", "∫": "int", "⋅": "cdot", "∥": "Vert", "∝": "propto", "±": "pm",
    "×": "times", "÷": "div", "−": "-", "∀": "forall", "∃": "exists", "⊂": "subset", "∪": "cup",
    "∩": "cap", "√": "surd", "↑": "uparrow", "↓": "downarrow", "ℓ": "ell", "′": "prime", "≡": "equiv",
    "≪": "ll", "≫": "gg", "⊆": "subseteq", "∉": "notin", "∅": "emptyset", "∘": "circ", "⊙": "odot",
    "⊕": "oplus", "⊗": "otimes", "⟨": "langle", "⟩": "rangle", "†": "dagger", "✓": "checkmark",
    "ϵ": "epsilon", "ϕ": "phi", "ς": "varsigma", "ℝ": "mathbb{R}", "𝔼": "mathbb{E}",
    "⇔": "Leftrightarrow", "∗": "ast", "‖": "Vert", "°": "^\\circ", "¬": "neg", "·": "cdot", "µ": "mu",
}  # fmt: skip
TEXT = {
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\ldots{}", "•": r"\textbullet{}",
    "\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,", "\u2011": "-", "\u00ad": r"\-", "\u200b": "",
    "\ufeff": "", "ﬁ": "fi", "ﬂ": "fl",
}  # fmt: skip
RAISED = {sign: f"^{digit}" for digit, sign in zip("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", strict=True)}
LOWERED = {sign: f"_{digit}" for digit, sign in zip("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋", strict=True)}
KNOWN = "¡¢£¥§©ª«®¶º»¼½¾¿€ȘșȚț"  # beyond Latin letters, what T1 and TS1 hold in Times
ABSENT = "ĦħĸĿŀŉŦŧſ"  # Latin letters that T1 does not hold
MATHS = {
    sign: (rf"\{name}" if name[0].isalpha() else name) for sign, name in (GREEK | SIGNS | RAISED | LOWERED).items()
}
# After \\, a new line, a % begins a comment; after one \ it does not.
COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")


def escape(text: str) -> str:
    """Plain text as LaTeX. It may hold any letter: one that cannot be set becomes those it is made of, or a `?`."""
    return "".join(SPECIAL.get(letter) or _nearest(letter) for letter in unicodedata.normalize("NFC", text))


def prose(text: str) -> str:
    """Plain text that a model wrote, as LaTeX in one line: formulas stay, `code` is set so, the rest is escaped."""
    parts = re.split(r"(\$(?!\s)[^$]+(?<!\s)\$|`[^`\n]+`)", " ".join(text.split()))
    made = {"$": lambda part: "".join(map(_nearest, part)), "`": lambda part: rf"\texttt{{{escape(part[1:-1])}}}"}
    return "".join(made.get(part[:1] if place % 2 else "", escape)(part) for place, part in enumerate(parts))


def to_latex(text: str) -> str:
    """LaTeX with the letters replaced that pdflatex cannot set; FormatError names one without replacement."""
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", text))


def uncommented(tex: str) -> str:
    """The text that TeX reads: without comments, line by line as before."""
    return COMMENT.sub(r"\1", tex)


def _nearest(letter: str) -> str:
    try:
        return _letter(letter)
    except FormatError:
        plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if " " <= c <= "~")
        return "".join(SPECIAL.get(c, c) for c in plain) or "?"


def _letter(letter: str) -> str:
    if ord(letter) < 128:
        return letter if letter >= " " or letter in "\n\t" else ""
    if letter in TEXT:
        return TEXT[letter]
    if letter in MATHS:  # \ensuremath is right both inside and outside of a formula
        return rf"\ensuremath{{{MATHS[letter]}}}"
    latin = unicodedata.name(letter, "").startswith("LATIN ") and ord(letter) < 0x180 and letter not in ABSENT
    if latin or letter in KNOWN:
        return letter
    name = unicodedata.name(letter, "a letter without a name")
    raise FormatError(f"pdflatex cannot set {letter!r} ({name}): write it as a LaTeX command or leave it out.")
