"""Words that contradict a verdict are found, and words that do not are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import latex

VERDICTS = {
    ("dino/loss", "run_1", "run_0"): "better",
    ("line/loss", "run_1", "run_0"): "inconclusive",
    ("moons/loss", "run_1", "run_0"): "worse",
    ("moons/loss", "run_0", "run_1"): "better",
    ("dino/time", "run_1", "run_0"): "not comparable",
    ("rings/loss", "run_1", "run_0"): "equivalent",
}
BETTER, OPEN, WORSE = (rf"\cmp{{{place}/loss}}{{run_1}}{{run_0}}" for place in ("dino", "line", "moons"))


@pytest.mark.parametrize(
    "text, word",
    [
        (f"The cosine schedule improves the loss on the line ({OPEN}).", "improves"),
        (r"It is better on the line, \verdict{line/loss}{run_1}{run_0}.", "better"),
        (f"All is well.\nIt outperforms the baseline\non the line: {OPEN}. Then more.", "outperforms"),
        (f"The loss gets worse on the line, {OPEN}.", "worse"),
        (f"The loss degrades, {BETTER}.", "degrades"),
        (f"The run improves on moons: {WORSE}.", "improves"),
        (f"The difference on the line is significant, {OPEN}.", "significant"),
        (r"It beats the baseline in time, \cmp{dino/time}{run_1}{run_0}.", "beats"),
        (f"It gains on the line ({OPEN}) and on moons ({WORSE}).", "gains"),
        (f"The two are equivalent on the line ({OPEN}).", "equivalent"),
    ],
)
def test_a_word_that_contradicts_a_verdict_is_found(text: str, word: str):
    [problem] = latex.claims(text, VERDICTS)
    assert repr(word) in problem.message and not problem.fatal
    assert r"\cmp" in text.splitlines()[problem.line - 1] or r"\verdict" in text.splitlines()[problem.line - 1]


@pytest.mark.parametrize(
    "text",
    [
        f"The cosine schedule improves the loss on the dinosaur ({BETTER}).",
        f"It does not improve the loss on the line ({OPEN}).",
        f"The run improves on the dinosaur ({BETTER}), and the line stays as it was ({OPEN}).",
        f"The run improves on the dinosaur ({BETTER}) and gets worse on moons ({WORSE}).",
        f"We predicted that it improves the line; what came out is {OPEN}.",
        f"Whether it is better on the line is left open: {OPEN}.",
        f"Lower is better; the difference is {OPEN}.",
        f"It isn't better: {OPEN}.",
        f"It improves much. The line is another matter, {OPEN}.",
        r"The baseline is better on moons, \cmp{moons/loss}{run_0}{run_1}.",
        r"The change makes it worse on moons, \cmp{moons/loss}{run_0}{run_1}.",
        f"The value is 0.5 better or so. {BETTER} is the difference.",
        f"An improvable thing, {OPEN}.",
        f"This is inconclusive and does not make the two equivalent: {OPEN}.",
        r"The two are equivalent on rings, \verdict{rings/loss}{run_1}{run_0}.",
        rf"Table~\ref{{tab:better}} holds {OPEN}.",
        r"It improves \cmp{no/such}{run_1}{run_0}.",
    ],
)
def test_a_sentence_that_a_verdict_bears_out_is_left_alone(text: str):
    assert latex.claims(text, VERDICTS) == []


@given(
    st.text()
    | st.lists(st.sampled_from([BETTER, OPEN, " improves ", ".", "\n\n", "worse", "not", "{", "\\"])).map("".join)
)
def test_any_text_can_be_held_to_the_verdicts(text: str):
    for problem in latex.claims(text, VERDICTS):
        assert 1 <= (problem.line or 0) <= text.count("\n") + 1


@given(st.sampled_from(["improves", "outperforms", "worsens", "degrades"]), st.text("abc ,:", max_size=30))
def test_a_word_beside_an_open_verdict_is_found_wherever_it_stands(word: str, filler: str):
    for text in (f"{filler} {word} {filler} {OPEN}.", f"{OPEN} {filler} {word} {filler}."):
        assert len(latex.claims(text, VERDICTS)) == 1
