"""Edits as models write them: what is read, what is applied, and what is said when it does not fit."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kit.editor import CLOSE, MIDDLE, OPEN, EditError, Edits, apply, diff
from kit.schemas import Edit, FormatError

FILE = """import argparse


def train(rate, steps):
    weight = 0.0
    for step in range(steps):
        weight -= rate * weight
    return weight


def main():
    for step in range(3):
        print(train(0.1, 10))
"""


def block(search: str, replace: str, name: str = "experiment.py", signs: int = 7) -> str:
    lines = [name] if name else []
    lines += ["<" * signs + " SEARCH", search, "=" * signs, replace, ">" * signs + " REPLACE", ""]
    return "\n".join(line for line in lines if line or line is lines[-1])


def edit(search: str, replace: str, text: str = FILE, **more: str) -> str:
    """The file after one edit that a model wrote."""
    edits = Edits.parse(block(search, replace)).edits
    return apply(edits, {"experiment.py": text, **more}, allowed=["experiment.py"])["experiment.py"]


def is_marker(line: str) -> bool:
    return any(mark.fullmatch(line) for mark in (OPEN, MIDDLE, CLOSE))


LINES = st.text(st.characters(exclude_characters="\n\r"), max_size=20).filter(lambda line: not is_marker(line))
TEXTS = st.lists(LINES, max_size=6).map(lambda lines: "".join(f"{line}\n" for line in lines))
NAMES = st.from_regex(r"([a-z_]{1,8}/)?[A-Za-z_]\w{0,8}\.(py|tex|md)", fullmatch=True)


# --- reading ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(NAMES, TEXTS, TEXTS).filter(lambda e: e[1] != e[2]), min_size=1, max_size=4))
def test_what_is_written_is_read_back(parts: list[tuple[str, str, str]]):
    edits = [Edit(path=name, search=search, replace=replace) for name, search, replace in parts]
    written = [f"{e.path}\n<<<<<<< SEARCH\n{e.search}=======\n{e.replace}>>>>>>> REPLACE\n" for e in edits]
    assert Edits.parse("Some words.\n\n" + "\n".join(written)).edits == edits


SHARDS = ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```", "```python", "experiment.py", "x = 1", "", "***"]


@given(st.lists(st.sampled_from(SHARDS) | LINES, max_size=12).map("\n".join))
def test_any_reply_is_edits_or_a_format_error(reply: str):
    try:
        found = Edits.parse(reply)
    except FormatError as error:
        assert str(error)
    else:
        assert found.edits and all(e.path and e.search != e.replace for e in found.edits)


@pytest.mark.parametrize(
    "line",
    [
        "experiment.py",
        "`experiment.py`",
        "**experiment.py**",
        "**`experiment.py`**",
        "### experiment.py",
        "#### `experiment.py`:",
        "1. `experiment.py`",
        "File: experiment.py",
        "**File:** `experiment.py`",
        "# filename: experiment.py",
        "  experiment.py  ",
        "experiment.py\n",
        "experiment.py\n```python",
        "```python experiment.py",
        "```experiment.py",
        "```python:experiment.py",
        '```python title="experiment.py"',
        "First, the rate in `experiment.py`:",
        "I set rate to 0.5, e.g. in experiment.py",
    ],
)
def test_a_file_is_named_in_many_ways(line: str):
    reply = f"We want 0.5 and not 0.1.\n\n{line}\n{block('a', 'b', name='')}```\n"
    assert Edits.parse(reply).edits == [Edit(path="experiment.py", search="a\n", replace="b\n")]


@pytest.mark.parametrize("line", ["I change the rate to 0.5:", "e.g.", "", "```python", "/", "…"])
def test_a_number_or_a_word_is_no_file_name(line: str):
    with pytest.raises(FormatError, match="no file name"):
        Edits.parse(f"{line}\n{block('a', 'b', name='')}")


def test_the_name_may_stand_beside_the_marker():
    assert Edits.parse("<<<<<<< SEARCH experiment.py\na\n=======\nb\n>>>>>>> REPLACE").edits[0].path == "experiment.py"


def test_a_block_without_a_name_is_for_the_file_of_the_block_before():
    named, bare = block("a", "b", name="x.py"), block("c", "d", name="")
    reply = f"In y.py: nothing.\n{named}\nThis leaves z.py as it is.\n{bare}\nNow in z.py:\n{bare}\n{bare}"
    assert [e.path for e in Edits.parse(reply).edits] == ["x.py", "x.py", "z.py", "z.py"]


def test_words_around_the_blocks_are_kept_and_fences_are_not():
    reply = f"Why I do it.\n\n```python\n{block('a', 'b')}```\nDone.\n\n~~~\n{block('c', 'd', name='')}~~~\n"
    assert Edits.parse(reply).explanation.split() == ["Why", "I", "do", "it.", "Done."]


@pytest.mark.parametrize("signs", [5, 7, 8, 12])
@pytest.mark.parametrize("pad", ["", "  ", "\t"])
def test_markers_may_be_longer_and_indented(signs: int, pad: str):
    reply = "\n".join(f"{pad}{line} " if is_marker(line) else line for line in block("a", "b", signs=signs).split("\n"))
    assert Edits.parse(reply.replace("\n", "\r\n")).edits == [
        Edit(path="experiment.py", search="a\n", replace="b\n"),
    ]


def test_longer_markers_let_lines_of_equals_signs_through():
    reply = block("Title\n=======\nText", "Title\n=====\nText", name="notes.md", signs=10)
    [found] = Edits.parse(reply).edits
    assert (found.search, found.replace) == ("Title\n=======\nText\n", "Title\n=====\nText\n")
    with pytest.raises(FormatError, match="<<<<<<<<<< SEARCH, ==========, >>>>>>>>>> REPLACE"):
        Edits.parse(block("Title\n=======\nText", "x", name="notes.md"))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("I would change the rate.", "no edit in the reply"),
        ("", "no edit in the reply"),
        ("a.py\n<<<<<<< SEARCH\nx\n=======\ny\n", ">>>>>>> REPLACE is missing"),
        ("a.py\n<<<<<<< SEARCH\nx\n>>>>>>> REPLACE\n", "======= is missing"),
        (f"a.py\n<<<<<<< SEARCH\nx\n=======\ny\n{block('a', 'b')}", "before the next block"),
        (block("x", "x", name="a.py"), "replaces lines by the same lines"),
    ],
)
def test_what_is_wrong_with_a_block_is_said(reply: str, words: str):
    with pytest.raises(FormatError, match=words):
        Edits.parse(reply)


# --- applying -----------------------------------------------------------------------------------


@given(st.lists(LINES, min_size=1, max_size=8, unique=True), TEXTS, st.data())
def test_an_exact_edit_is_what_str_replace_does(lines: list[str], replace: str, data: st.DataObject):
    text = "".join(f"{line}\n" for line in lines)
    start = data.draw(st.integers(0, len(lines) - 1))
    search = "".join(f"{line}\n" for line in lines[start : data.draw(st.integers(start + 1, len(lines)))])
    assume(search != replace and text.count(search) == 1)
    assert apply([Edit(path="a.txt", search=search, replace=replace)], {"a.txt": text}) == {
        "a.txt": text.replace(search, replace)
    }


@given(st.dictionaries(st.sampled_from(["a.txt", "b.py"]), TEXTS), st.lists(st.tuples(NAMES, TEXTS, TEXTS)))
def test_edits_are_made_all_or_none(files: dict[str, str], parts: list[tuple[str, str, str]]):
    kept, names = dict(files), ["a.txt", "b.py"]
    edits = [Edit(path=names[n % 2], search=s, replace=r) for n, (_, s, r) in enumerate(parts)]
    try:
        after = apply(edits, files, allowed=names)
    except EditError as error:
        assert str(error)
    else:
        assert after != kept and set(kept) <= set(after) <= set(names)
    assert files == kept


def test_a_search_is_whole_lines():
    text = "max_rate = 1\nrate = 1\n"
    assert edit("rate = 1", "rate = 2", text) == "max_rate = 1\nrate = 2\n"
    assert edit("rate = 1\n", "rate = 2\nx = 3", "if a:\n    rate = 1\n") == "if a:\n    rate = 2\n    x = 3\n"
    with pytest.raises(EditError, match="The SEARCH text is not in"):
        edit("rate", "loss", text)


def test_a_search_that_is_absent_shows_the_closest_lines():
    with pytest.raises(EditError) as error:
        edit("    for step in range(n_steps):\n        weight -= rate * weights", "x")
    assert "about line 6, are:\n    weight = 0.0\n    for step in range(steps):" in str(error.value)
    assert "return weight" in str(error.value) and "Copy the lines exactly" in str(error.value)


def test_nothing_close_is_not_shown():
    with pytest.raises(EditError) as error:
        edit("@@@ @@@ @@@", "x")
    assert "closest" not in str(error.value)


def test_an_edit_that_was_made_already_is_told():
    with pytest.raises(EditError, match="stands there already"):
        edit("    weight = 9", "    weight = 0.0")


@pytest.mark.parametrize("text", ["x = 1\ny = 2\nx = 1\n", "if a:\n    x = 1\nelse:\n    x = 1\n", "x = 1 \nx = 1\t\n"])
def test_a_search_that_stands_twice_is_said_with_its_lines(text: str):
    with pytest.raises(EditError, match=r"stands 2 times in experiment.py \(from lines \d, \d\)"):
        edit("x = 1", "x = 2", text)


def test_places_are_counted_as_str_count_does():
    assert edit("a\na", "b", "a\na\na\n") == "b\na\n"
    with pytest.raises(EditError, match="stands 2 times"):
        edit("a\na", "b", "a\na\na\na\n")


def test_the_exact_place_wins_over_one_that_is_indented_otherwise():
    text = "x = 1\nif x:\n    x = 1\n"
    assert edit("x = 1", "x = 2", text) == "x = 2\nif x:\n    x = 1\n"
    assert edit("    x = 1", "    x = 2", text) == "x = 1\nif x:\n    x = 2\n"


@pytest.mark.parametrize("pad", ["", "  ", "      ", "\t"])
def test_one_common_indentation_is_put_right(pad: str):
    search = f"{pad}for step in range(steps):\n{pad}    weight -= rate * weight"
    new = f"{pad}for step in range(steps):\n\n{pad}    if weight:\n{pad}        weight -= rate * weight"
    expected = (
        "    for step in range(steps):\n\n        if weight:\n            weight -= rate * weight\n    return weight"
    )
    assert expected in edit(search, new)


def test_an_indentation_that_changes_within_is_not_guessed():
    with pytest.raises(EditError, match="not in"):
        edit("for step in range(steps):\n  weight -= rate * weight", "pass")


@pytest.mark.parametrize("spaces", [2, 4, 8])
def test_tabs_in_the_file_stay_tabs(spaces: int):
    pad = " " * spaces
    text = "def f(x):\n\tif x:\n\t\treturn 1\n\treturn 2\n"
    new = f"{pad}if x:\n{pad * 2}while x:\n{pad * 3}x -= 1"
    assert edit(f"{pad}if x:\n{pad * 2}return 1", new, text) == (
        "def f(x):\n\tif x:\n\t\twhile x:\n\t\t\tx -= 1\n\treturn 2\n"
    )


def test_tabs_in_the_reply_become_the_spaces_of_the_file():
    found = edit("\tfor step in range(steps):\n\t\tweight -= rate * weight", "\tfor step in [1]:\n\t\tpass")
    assert "    for step in [1]:\n        pass\n    return" in found


@pytest.mark.parametrize(
    ("search", "text"),
    [
        ("x = 1   ", "x = 1\n"),
        ("x = 1", "x = 1 \t\n"),
        ("\nx = 1", "x = 1\n"),
        ("x = 1\n\n", "x = 1\n"),
        ("x = 1", "x = 1"),
    ],
)
def test_spaces_at_the_ends_and_blank_lines_around_do_no_harm(search: str, text: str):
    reply = f"experiment.py\n<<<<<<< SEARCH\n{search}\n=======\nx = 2\n>>>>>>> REPLACE\n"
    assert apply(Edits.parse(reply).edits, {"experiment.py": text})["experiment.py"].rstrip("\n") == "x = 2"


def test_a_file_from_windows_stays_one():
    text = "a = 1\r\nb = 2\r\nc = 3"
    assert edit("b = 2\nc = 3", "b = 4\nd = 5", text) == "a = 1\r\nb = 4\r\nd = 5"
    assert edit("b = 2", "b = 4\nd = 5", text) == "a = 1\r\nb = 4\r\nd = 5\r\nc = 3"
    mixed = "a = 1\r\nb = 2\nc = 3\n"
    assert edit("b = 2", "b = 4", mixed) == "a = 1\r\nb = 4\nc = 3\n"


def test_letters_of_all_alphabets_are_found():
    assert edit("größe = 'β₂ 漢字 🙂'", "größe = 'α'", "größe = 'β₂ 漢字 🙂'\n") == "größe = 'α'\n"


@pytest.mark.parametrize(
    ("text", "search", "replace", "after"),
    [
        ("a\nb\n", "b", "", "a\n"),
        ("a\nb", "b", "", "a"),
        ("a\n", "a", "", ""),
        ("a\nb", "b", "c\nd", "a\nc\nd"),
        ("a\n\nb\n", "\nb", "b", "a\nb\n"),
        ("a\x0cb\n", "a\x0cb", "c", "c\n"),
    ],
)
def test_ends_of_files(text: str, search: str, replace: str, after: str):
    edits = [Edit(path="a.txt", search=f"{search}\n", replace=f"{replace}\n" if replace else "")]
    assert apply(edits, {"a.txt": text}) == {"a.txt": after}


def test_an_empty_search_makes_a_new_file():
    new = Edits.parse("sub/new.py\n<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE\n").edits
    assert apply(new, {"a.py": ""}) == {"a.py": "", "sub/new.py": "x = 1\n"}
    assert apply(new, {"sub/new.py": "\n"}) == {"sub/new.py": "x = 1\n"}
    with pytest.raises(EditError, match="an empty SEARCH is for a new file"):
        apply(new, {"sub/new.py": "y = 1\n"})


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(EditError, match="There is no file"):
        apply([Edit(path="b.txt", search="a\n", replace="b\n")], {"a.txt": "a\n"})


@pytest.mark.parametrize(
    "path",
    ["plot.py", "../experiment.py", "a/../experiment.py", "/etc/passwd.py", "~/x.py", "..\\experiment.py", "", "."],
)
@pytest.mark.parametrize("allowed", [["experiment.py"], None])
def test_a_file_that_may_not_be_edited_is_refused(path: str, allowed: list[str] | None):
    if path == "plot.py" and allowed is None:
        return
    with pytest.raises(EditError, match=r"may not be edited. These may: experiment.py"):
        apply([Edit(path=path, search="", replace="x = 1\n")], {"experiment.py": FILE}, allowed)


@pytest.mark.parametrize("name", ["../experiment.py", "/work/experiment.py", "**`../experiment.py`**"])
def test_a_path_is_read_with_all_its_parts(name: str):
    assert Edits.parse(block("a", "b", name)).edits[0].path == name.strip("*`")


def test_a_dot_before_a_path_means_nothing():
    edits = Edits.parse(block("a = 1", "a = 2", "./experiment.py")).edits
    assert apply(edits, {"experiment.py": "a = 1\n"}, ["experiment.py"]) == {"experiment.py": "a = 2\n"}


def test_a_later_edit_may_build_on_an_earlier_one():
    reply = block("a = 1", "b = 1\nc = 1") + block("c = 1", "c = 2", "") + block("b = 1\nc = 2", "d = 3", "")
    assert apply(Edits.parse(reply).edits, {"experiment.py": "a = 1\n"}) == {"experiment.py": "d = 3\n"}


@pytest.mark.parametrize(
    ("text", "edits", "words"),
    [
        ("a = 1\n", [("a = 1", "b = 1"), ("b = 1", "a = 1")], "The edits change nothing"),
        ("a = 1\n", [("a = 1 ", "a = 1")], "An edit of a.txt changes nothing"),
        ("a = 1\n", [], "The edits change nothing"),
    ],
)
def test_what_changes_nothing_is_an_error(text: str, edits: list[tuple[str, str]], words: str):
    made = [Edit(path="a.txt", search=f"{s}\n", replace=f"{r}\n") for s, r in edits]
    with pytest.raises(EditError, match=words):
        apply(made, {"a.txt": text})


@pytest.mark.parametrize(
    ("replace", "words"),
    [
        ("    weight = (0.0", "line 5:     weight = \\(0.0"),
        ("   weight = 0.0", "no Python: .*, line 6: "),
        ("    weight = 0.0\x00", "no Python"),
        ("    weight = " + "-" * 100_000 + "1", "no Python"),
        ("    weight = '\n    0'\r    x = (", "no Python"),
    ],
)
def test_what_is_no_python_after_the_edit_is_said_with_its_line(replace: str, words: str):
    with pytest.raises(EditError, match=words):
        edit("    weight = 0.0", replace)


def test_only_what_an_edit_changed_has_to_be_python():
    assert edit("    weight = 0.0", "    weight = 1.0", other="not python ((", **{"plot.py": "not ("})
    assert "\\d" in edit("    weight = 0.0", '    weight = "\\d"')  # a warning for people, nothing to refuse


# --- diff ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("0.1", "0.2"),
        lambda text: text.rstrip("\n"),
        lambda text: text.rstrip("\n") + "  # end",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "x = '\x0c\u2028'\n",
        lambda text: "",
    ],
)
@pytest.mark.parametrize("forth", [True, False])
def test_a_diff_is_a_patch(tmp_path: Path, change: Callable[[str], str], forth: bool):
    before, after = (FILE, change(FILE)) if forth else (change(FILE), FILE)
    (tmp_path / "x.py").write_bytes(before.encode())
    patch = diff(before, after, "x.py").encode()
    subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], input=patch, cwd=tmp_path, check=True)
    assert (tmp_path / "x.py").read_bytes() == after.encode()


def test_a_sentence_may_be_changed_where_it_stands_once_but_no_piece_of_code():
    text = "A long paragraph in one line. It says that all is better. It ends here.\nAnother line.\n"
    edit = Edit(path="results.tex", search="It says that all is better.\n", replace="It says what came out.\n")
    after = apply([edit], {"results.tex": text})["results.tex"]
    assert after == text.replace("that all is better", "what came out")
    with pytest.raises(EditError, match=r"not in results\.tex"):
        apply([edit], {"results.tex": f"{text}It says that all is better. And more.\n"})
    rate = Edit(path="experiment.py", search="rate = 0.1\n", replace="rate = 0.2\n")
    with pytest.raises(EditError, match=r"not in experiment\.py"):
        apply([rate], {"experiment.py": "learning_rate = 0.1\n"})
