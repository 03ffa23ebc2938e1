"""Questions about time series, asked of a model twice: as a picture and as numbers. The template makes them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel
from scipy.stats import binomtest

from kit import show
from kit.llm.ledger import money
from kit.schemas import FormatError, KitError, QuizAnswer
from kit.store import save_json
from kit.template import Template
from kit.workspace import Run

Shown = Literal["plot", "text"]
LETTERS = "ABCDE"
FIRST_SEED = 1000  # of the questions for models: no other number of the experiment is drawn from these
SERIES = {"function": ["y"], "correlation": ["first", "second"], "clusters": ["x", "y"],
          "derivative": ["curve", "A", "B", "C", "D"]}  # fmt: skip
COLORS = ["#0072B2", "#D55E00"]


class Question(BaseModel):
    """One question: what is asked, the numbers, their picture, and the right letter."""

    task: str
    choices: dict[str, str]  # by letter
    right: str
    noise: float
    series: dict[str, list[int]]  # from 0 to 99
    picture: Path

    def check(self, answer: QuizAnswer) -> None:
        """Refuse a letter that stands for nothing."""
        if answer.choice not in {*self.choices, "none"}:
            raise FormatError(f"{answer.choice} is none of the choices: {', '.join(self.choices)}, none.")


class Quiz:
    """The questions of a run, and what was answered by way of showing them."""

    def __init__(self, run: Run, questions: list[Question]):
        self.run, self.questions = run, questions
        self.answers: dict[Shown, list[QuizAnswer]] = {}

    def each(self, shown: Shown) -> list[dict[str, Any]]:
        """What `ask_many` is given for every question, shown in one of the two ways."""
        return [
            {"question": question, "shown": shown, "check": question.check,
             "pictures": [question.picture] if shown == "plot" else []} for question in self.questions
        ]  # fmt: skip

    def mark(self, **answers: list[QuizAnswer]) -> "Marks":
        """Hold the answers, plot=… and text=…, against the right ones; all of it is kept in quiz.json."""
        for shown, given in answers.items():
            if len(given) != len(self.questions):
                raise KitError(f"{len(given)} answers were given to {len(self.questions)} questions ({shown}).")
        rows = [
            question.model_dump(mode="json", exclude={"picture"})
            | {"picture": question.picture.name}
            | {shown: given[number].model_dump() for shown, given in answers.items()}
            for number, question in enumerate(self.questions)
        ]
        save_json(self.run.path / "quiz.json", rows)
        return Marks(self, answers)

    def _repr_html_(self) -> str:
        first = {question.task: question for question in reversed(self.questions)}
        named = {q.picture.name: f"{task}: {q.choices[q.right]}" for task, q in sorted(first.items())}
        head = show.title(f"{len(self.questions)} questions, each asked as a picture and as numbers")
        return show.block(head, show.gallery([q.picture for _, q in sorted(first.items())], captions=named))


class Marks(NamedTuple):
    """How many answers were right, what they took, and whether the two ways can be told apart."""

    quiz: Quiz
    answers: dict[str, list[QuizAnswer]]

    def right(self, shown: str) -> list[bool]:
        """Whether each question was answered rightly; `none` is wrong."""
        pairs = zip(self.quiz.questions, self.answers[shown], strict=True)
        return [question.right == answer.choice for question, answer in pairs]

    def rows(self) -> list[list[Any]]:
        """One row a task and way of showing: right answers, tokens and cost, those of all attempts."""
        calls = [step for step in self.quiz.run.calls.finished() if step["stage"] == "quiz"]
        rows = []
        for task in dict.fromkeys(question.task for question in self.quiz.questions):
            numbers = [n for n, question in enumerate(self.quiz.questions) if question.task == task]
            for shown, given in self.answers.items():
                mine = [s["result"] for s in calls if s["idea"] == shown and s["index"] in numbers]
                unseen = sum(given[n].choice == "none" for n in numbers)
                right = sum(self.right(shown)[n] for n in numbers)
                tokens = [sum(result[name] for result in mine) for name in ("tokens_in", "tokens_out")]
                rows.append([task, shown, f"{right} of {len(numbers)}", unseen or "", *tokens,
                             money(result["cost"] for result in mine)])  # fmt: skip
        return rows

    @property
    def verdict(self) -> str:
        """An exact sign test over the questions that only one of the two ways got right; both must have been seen."""
        seen = [all(answer.choice != "none" for answer in both) for both in zip(*self.answers.values(), strict=True)]
        pairs = [p for p, ok in zip(zip(self.right("plot"), self.right("text"), strict=True), seen, strict=True) if ok]
        if not pairs:
            return "Not comparable: no question was seen both as a plot and as text."
        plot, text = pairs.count((True, False)), pairs.count((False, True))
        if not plot + text:
            return f"The two ways agree on all of {len(pairs)} questions: nothing tells them apart."
        chance = binomtest(plot, plot + text).pvalue
        said = "inconclusive" if chance >= 0.05 else "the plot is better" if plot > text else "the text is better"
        return (f"Of {len(pairs)} questions seen in both ways, {plot} were answered rightly from the plot alone and "
                f"{text} from the text alone: {said} (exact sign test, p = {chance:.2g}).")  # fmt: skip

    def _repr_html_(self) -> str:
        columns = ["Task", "Shown as", "Right", "Nothing seen", "Tokens in", "out", "Cost"]
        return show.block(show.table(columns, self.rows()), show.paragraph(self.verdict))


def set_questions(run: Run, template: Template, num_questions: int, seed: int = 0) -> Quiz:
    """Draw a number of questions of each task, and their pictures into the run's folder quiz/."""
    program, folder = _load_program(template), run.path / "quiz"
    folder.mkdir(parents=True, exist_ok=True)
    questions = []
    for task, names in SERIES.items():
        values, labels, noise = program.make_questions(task, num_questions, seed=FIRST_SEED + seed)
        words = [f"curve {c}" if task == "derivative" else c for c in program.CHOICES[task]]
        for number in range(num_questions):
            numbers = np.round(99 * values[number]).astype(int).tolist()
            question = Question(
                task=task, choices=dict(zip(LETTERS, words, strict=False)), right=LETTERS[labels[number]],
                noise=noise[number], series=dict(zip(names, numbers, strict=True)),
                picture=folder / f"{task}_{number}.png",
            )  # fmt: skip
            _draw(question)
            questions.append(question)
    return Quiz(run, questions)


def _load_program(template: Template) -> ModuleType:
    """The template's experiment.py as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"{template.name}_questions", template.path / "experiment.py")
    if spec is None or spec.loader is None:
        raise KitError(f"{template.path / 'experiment.py'} cannot be loaded.")
    program = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # its dataclass looks there
    spec.loader.exec_module(program)
    if not hasattr(program, "make_questions"):
        raise KitError(f"The template {template.name!r} has no make_questions; plots_vs_text has.")
    return program


def _draw(question: Question) -> None:
    """A plain plot of 480 by 360 pixels, as one would draw it for a colleague."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 3.6), dpi=100, layout="constrained")
    series = question.series
    if question.task == "derivative":
        panels = figure.subplot_mosaic([["curve", "A", "B"], ["curve", "C", "D"]])
        for name, axes in panels.items():
            axes.plot(series[str(name)], color=COLORS[name != "curve"])
            axes.set(title=name, xticks=[], yticks=[])
    elif question.task == "clusters":
        figure.subplots().plot(series["x"], series["y"], "o", color=COLORS[0], ms=4)
        figure.axes[0].set(xlabel="x", ylabel="y", xlim=(-4, 103), ylim=(-4, 103))
    else:
        axes = figure.subplots()
        for (name, numbers), color in zip(series.items(), COLORS, strict=False):
            axes.plot(numbers, color=color, label=name)
        axes.set(xlabel="step", ylabel="value")
        if len(series) > 1:
            axes.legend(frameon=False)
    figure.savefig(question.picture, metadata={"Software": None})  # the same bytes, so that the call is found again
