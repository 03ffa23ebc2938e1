"""Widgets: the parameter is the truth, the widget edits it; without a browser the same cell shows a table."""

from html import escape

import ipywidgets as w

from kit.archive import Record
from kit.workspace import Run


class IdeaPicker(w.VBox):
    """The archive as a list to choose from: a click is saved at once, and is kept when the notebook runs again."""

    def __init__(self, run: Run):
        self.run = run
        self.detail = w.HTML(layout=w.Layout(flex="1", margin="0 0 0 16px"))
        self.rows = [self._row(record) for record in run.archive().records]
        listing = w.VBox(self.rows, layout=w.Layout(width="46%", max_height="420px", overflow="auto"))
        super().__init__([w.HBox([listing, self.detail])])
        if self.rows:
            self._show(run.archive().records[0])

    def _row(self, record: Record) -> w.HBox:
        box = w.Checkbox(value=record.chosen, indent=False, description=record.idea.Name,
                         tooltip="chosen ideas go on to the experiments", layout=w.Layout(flex="1"))  # fmt: skip
        look = w.Button(description="details", layout=w.Layout(width="72px"))
        badge = w.HTML(f"<span title='{escape(record.novelty.reason)}'>{_badge(record)}</span>")
        box.observe(lambda change: self._choose(record.idea.Name, change["new"]), "value")
        look.on_click(lambda _: self._show(self.run.archive().get(record.idea.Name) or record))
        return w.HBox([box, badge, look], layout=w.Layout(align_items="center"))

    def _choose(self, name: str, chosen: bool) -> None:
        archive = self.run.archive()
        if record := archive.get(name):
            record.chosen, record.chosen_by = chosen, "person"
            self.run.save_archive(archive)
            self._show(record)

    def _show(self, record: Record) -> None:
        self.detail.value = record._repr_html_()

    def _repr_mimebundle_(self, **options):
        """The widget for a browser, and a table for everybody else."""
        bundle = super()._repr_mimebundle_(**options)
        data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
        data = (data or {}) | {"text/html": self.run.archive()._repr_html_()}
        return (data, *rest) if rest else data


def _badge(record: Record) -> str:
    colour = {"novel": "#1b7f4b", "not novel": "#a33", "unchecked": "#777"}[record.novelty.verdict]
    return f"<span style='color:{colour};font-size:90%'>{record.novelty.verdict}</span>"
