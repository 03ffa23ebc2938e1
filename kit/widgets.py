"""Widgets: the parameter is the truth, the widget edits it; without a browser the same cell shows a table."""

import re
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from kit import show
from kit.archive import Archive, Record
from kit.llm import Call, Chat, call_table, trace
from kit.schemas import Idea, KitError, Novelty
from kit.workspace import Run

SCORES = {"Interestingness": "interest", "Feasibility": "feasible", "Novelty": "new"}
SORTS: dict[str, Callable[[Record], Any]] = {
    "as proposed": lambda record: 0,
    "by name": lambda record: record.idea.Name,
    "most interesting": lambda record: -record.idea.Interestingness,
    "most feasible": lambda record: -record.idea.Feasibility,
    "newest": lambda record: -record.idea.Novelty,
}
SEARCHED = ("Title", "Hypothesis", "Experiment")
CSS = f"""{show.STYLE}<style>
.kit-row {{ border-bottom:1px solid var(--jp-border-color2, #ddd); padding:2px 4px; align-items:center }}
.kit-row.kit-here {{ background:rgba(128,134,144,.15) }} .kit-row .widget-html {{ margin:0 4px }}
.kit-name.jupyter-button {{ text-align:left; background:none; color:inherit; box-shadow:none; overflow:hidden;
  text-overflow:ellipsis }} .kit-picker .widget-html-content {{ line-height:1.5 }}
</style>"""


class Row(w.HBox):
    """One idea in the list: a box to choose it, its title to look at it, its scores."""

    def __init__(self, picker: "IdeaPicker", record: Record):
        name = record.idea.Name
        self.box = w.Checkbox(indent=False, tooltip="chosen ideas go on", layout=w.Layout(width="22px", flex="none"))
        self.title = w.Button(layout=w.Layout(flex="1", width="auto")).add_class("kit-name")
        self.marks = w.HTML(layout=w.Layout(flex="none"))
        super().__init__([self.box, self.title, self.marks])
        self.add_class("kit-row")
        self.show(record)
        self.title.on_click(lambda _: picker.look_at(name))
        self.box.observe(lambda change: picker.tick(name, change["new"]), "value")

    def show(self, record: Record) -> None:
        """Bring the row in line with its record."""
        idea = record.idea
        self.title.description, self.title.tooltip, self.box.value = idea.Title, idea.Title, record.chosen
        scores = " · ".join(str(getattr(idea, field)) for field in SCORES)
        badges = " ".join(record.standing())
        self.marks.value = f"<span class='kit'><small>{scores}</small> &nbsp;{badges}</span>"


class IdeaPicker(w.VBox):
    """The archive as a list to choose from: a click is saved at once, and is kept when the notebook runs again.

    With a `chat` of stage 1, a sentence that a person adds is brought into the form of an idea by its model. `least`
    are the scores from which on ideas are shown at first: interestingness, feasibility, novelty.
    """

    def __init__(self, run: Run, chat: Chat | None = None, least: tuple[int, int, int] = (1, 1, 1)):
        self.run, self.chat, self.here = run, chat, ""
        self.rows: dict[str, Row] = {}
        self.sort = w.Dropdown(options=list(SORTS), layout=w.Layout(width="150px"))
        self.words = w.Text(placeholder="filter by words", layout=w.Layout(width="150px"))
        form: dict[str, Any] = {"layout": w.Layout(width="235px", flex="none"), "style": {"description_width": "75px"}}
        self.least = {name: w.IntSlider(score, 1, 10, description=f"{words} ≥", **form)
                      for (name, words), score in zip(SCORES.items(), least, strict=True)}  # fmt: skip
        self.listing = w.VBox(layout=w.Layout(flex="1 1 320px", max_height="520px", overflow="auto", display="block"))
        self.wish = w.Text(placeholder="your own idea, in one sentence", layout=w.Layout(flex="1"))
        self.add = w.Button(description="add", icon="plus", layout=w.Layout(width="80px"))
        self.said = w.HTML()  # what the model is doing with the sentence, or why it could not
        for control in (self.sort, self.words, *self.least.values()):
            control.observe(lambda _: self.draw(), "value")
        self.add.on_click(lambda _: self.add_own(self.wish.value))
        super().__init__([
            w.HTML(CSS),
            w.HBox([self.sort, self.words, *self.least.values()], layout=w.Layout(flex_flow="row wrap")),
            w.HBox([self.listing, self._pane()], layout=w.Layout(flex_flow="row wrap", align_items="flex-start")),
            w.HBox([self.wish, self.add]), self.said,
        ])  # fmt: skip
        self.add_class("kit-picker")
        self.draw()

    def _pane(self) -> w.VBox:
        """What there is to see and to change of one idea."""
        wide = w.Layout(width="auto")
        self.detail = w.HTML(layout=wide)
        self.select = w.Button(description="select", icon="check")
        self.reject = w.Button(description="reject", icon="times")
        lines = {field: w.Textarea(description=field, rows=rows, continuous_update=False, layout=wide)
                 for field, rows in {"Title": 2, "Hypothesis": 3, "Experiment": 6}.items()}  # fmt: skip
        scores = {field: w.BoundedIntText(5, min=1, max=10, description=words, layout=w.Layout(width="140px"))
                  for field, words in SCORES.items()}  # fmt: skip
        self.fields = lines | scores
        for field, control in self.fields.items():
            control.observe(lambda change, field=field: self.edit(field, change["new"]), "value")
        self.select.on_click(lambda _: self.choose(self.here, True))
        self.reject.on_click(lambda _: self.choose(self.here, False))
        form = w.VBox([*lines.values(), w.HBox(list(scores.values()))])
        fold = w.Accordion([form], titles=["Edit: every change is saved as you leave the field"])
        return w.VBox([self.detail, w.HBox([self.select, self.reject]), fold],
                      layout=w.Layout(flex="1 1 420px", padding="0 0 0 18px", min_width="0"))  # fmt: skip

    # --- what a person does ---------------------------------------------------------------------

    def choose(self, name: str, chosen: bool) -> None:
        """Save that a person wants an idea carried out, or not."""
        archive = self.run.archive()
        record = archive.get(name)
        if record and (record.chosen, record.chosen_by) != (chosen, "person"):
            record.chosen, record.chosen_by = chosen, "person"
            self._save(archive, name)

    def tick(self, name: str, chosen: bool) -> None:
        """Take a tick in the list for a choice, unless it only shows what is on disk."""
        record = self.run.archive().get(name)
        if record and record.chosen != chosen:
            self.choose(name, chosen)

    def edit(self, field: str, value: str | int) -> None:
        """Save a person's wording; what the literature said was said of the former one."""
        archive = self.run.archive()
        record = archive.get(self.here)
        if not record or value == getattr(record.idea, field):
            return
        if not value and field in ("Title", "Experiment"):  # an idea cannot be without
            return self.draw()
        record.idea, record.edited_by = record.idea.model_copy(update={field: value}), "person"
        if field in SEARCHED:
            record.twin_of = ""
            record.novelty = Novelty(reason="Edited since it was checked; run the notebook again to check it.")
        self._save(archive, self.here)

    def add_own(self, sentence: str) -> None:
        """Save a person's own idea, chosen; then have the model bring it into form, if there is one to ask."""
        if not (wish := sentence.strip()):
            return
        archive = self.run.archive()
        record = next((r for r in archive.records if r.wish == wish), None) or archive.add(_as_it_stands(wish), wish)
        record.chosen, record.chosen_by = True, "person"
        self.wish.value = ""
        self._save(archive, record.idea.Name)
        if self.chat and record.idea.Experiment == wish:  # nobody has worked on it yet
            self._adopt(self.chat, record)

    def _adopt(self, chat: Chat, record: Record) -> None:
        """Put the model's idea in the place of the sentence; the sentence stays where the model fails."""
        self.add.disabled = True
        self.said.value = _remark(f"{chat.model} is bringing your sentence into the form of an idea …")
        try:
            idea = chat.ask("ideas/adopt", Idea, wish=record.wish)
        except KitError as error:
            self.said.value = _remark(f"Your sentence is saved as it stands. {error}", "bad")
        else:
            archive = self.run.archive()
            archive.records = [r for r in archive.records if r.wish != record.wish]
            known = [*chat.common["template"].seed_ideas, *chat.common["outcomes"].ideas]
            mine = archive.add(idea, record.wish, known)
            mine.chosen, mine.chosen_by = True, "person"
            self.said.value = ""
            self._save(archive, mine.idea.Name)
        finally:
            self.add.disabled = False

    def look_at(self, name: str) -> None:
        """Show one idea beside the list."""
        self.here = name
        self.draw()

    # --- drawing --------------------------------------------------------------------------------

    def _save(self, archive: Archive, name: str) -> None:
        self.run.save_archive(archive)
        self.look_at(name)

    def _fits(self, record: Record) -> bool:
        text = " ".join([record.idea.Name, *(getattr(record.idea, field) for field in SEARCHED)]).lower()
        enough = all(getattr(record.idea, field) >= slider.value for field, slider in self.least.items())
        return (enough or record.origin == "person") and all(word in text for word in self.words.value.lower().split())

    def draw(self) -> None:
        """Bring everything in line with ideas.json."""
        records = {record.idea.Name: record for record in self.run.archive().records}
        for name, record in records.items():
            if name in self.rows:
                self.rows[name].show(record)
            else:
                self.rows[name] = Row(self, record)
        shown = [r for r in sorted(records.values(), key=SORTS[str(self.sort.value)]) if self._fits(r)]
        nothing = w.HTML(f"<i>{'No idea fits the filter.' if records else 'No ideas yet.'}</i>")
        self.listing.children = [self.rows[r.idea.Name] for r in shown] or [nothing]
        self.here = self.here if self.here in records else next(iter(records), "")
        for name, row in self.rows.items():
            (row.add_class if name == self.here else row.remove_class)("kit-here")
        if self.here:
            self._fill(records[self.here])

    def _fill(self, record: Record) -> None:
        self.detail.value = record._repr_html_()
        self.select.button_style = "success" if record.chosen else ""
        self.reject.button_style = "" if record.chosen or record.chosen_by != "person" else "danger"
        for field, control in self.fields.items():
            control.value = getattr(record.idea, field)

    def _repr_mimebundle_(self, **options):
        """The widget for a browser, and a table for everybody else."""
        return _with_html(super()._repr_mimebundle_(**options), self.run.archive()._repr_html_())


def _as_it_stands(wish: str) -> Idea:
    """A sentence as an idea; its scores stand in the middle until somebody moves them."""
    words = "_".join(re.findall(r"[a-z0-9]+", wish.lower()))[:40].strip("_")
    return Idea(Name=words if len(words) > 1 else "own_idea", Title=wish.rstrip("."), Hypothesis=wish,
                Experiment=wish, Interestingness=5, Feasibility=5, Novelty=5)  # fmt: skip


def _remark(text: str, tone: show.Tone = "soft") -> str:
    return f"<div class='kit'>{show.paragraph(text, tone)}</div>"


def _with_html(bundle: Any, html: str) -> Any:
    """What a widget shows, with HTML for those who cannot show a widget."""
    data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
    data = (data or {}) | {"text/html": html}
    return (data, *rest) if rest else data


class CallView(w.VBox):
    """What the calls of a run took, and for one that is picked all that was said in it."""

    def __init__(self, run: Run):
        self.table, self.calls = call_table(run), trace(run)
        options = [(f"{call.number}. {call.title}", call.number - 1) for call in self.calls]
        self.pick = w.Dropdown(options=[("a call to read …", None), *options], layout=w.Layout(width="420px"))
        self.said = w.HTML()
        self.pick.observe(lambda change: self._show(change["new"]), "value")
        super().__init__([w.HTML(f"{CSS}{self.table._repr_html_()}"), self.pick, self.said])

    def _show(self, place: int | None) -> None:
        self.said.value = f"<div class='kit'>{_said(self.calls[place])}</div>" if place is not None else ""

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget for a browser, and the table for everybody else."""
        return _with_html(super()._repr_mimebundle_(**options), self.table._repr_html_())


def _said(call: Call) -> str:
    """A call in full: the reply open, what stands behind it folded away."""
    turns = [("system", call.turn["system"]), *((m["role"], m["content"]) for m in call.turn["messages"])]
    folded = [show.details(f"{role}, {len(text):,} characters", show.listing(text)) for role, text in turns]
    return show.block(show.paragraph(call.took), *folded, show.listing(call.turn["reply"]))
