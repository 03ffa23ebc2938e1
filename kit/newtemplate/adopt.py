"""From a person's own script to a template: lay it out, let a model adopt it, check it, mend it, put it there."""

import ast
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from kit import process, results, sandbox, workspace
from kit.bench import Programs
from kit.check import OUR_OWN, PACKAGES, look_over
from kit.doctor import Finding, Findings
from kit.editor import Edits, apply, diff
from kit.llm import connect
from kit.llm.chat import Chat
from kit.newtemplate import place, writing
from kit.newtemplate.source import Source, find_script, read_source
from kit.schemas import Adoption, FormatError, KitError
from kit.skeleton import each_seed, text
from kit.store import Intent, Key, digest, save
from kit.template import Template, load_template
from kit.workspace import Run

ROUNDS = 2  # in which a model may mend what does not fit
FIRST_LOOK = 60.0  # seconds after which a model has seen enough of the script
CLONE_SECONDS = 600
OURS = {"experiment.py", "plot.py", "template.toml", "prompt.json", "seed_ideas.json", "each_seed.py"}
CLOSE = 1e-9  # relative; seeds that differ by less say the same

Say = Callable[[object], None]


class Trial(BaseModel):
    """What a script did when it was run as it is."""

    ok: bool
    timed_out: bool
    seconds: float
    limit: float  # seconds that it was given
    tail: str
    numbers: dict[str, float]  # by name, the last of each
    hint: str = ""  # for the person, where it did not run for want of something


def adopt(
    name: str, origin: str, model: str = "offline", *, script: str = "", timeout: float = 600, level: str = "auto",
    budget: str = "", say: Say = print,
) -> bool:  # fmt: skip
    """Make templates/<name> from a folder or an address that git can clone; whether it fits.

    What was done is kept in outputs/_new-<name>: a run that was killed goes on when it is started again.
    """
    folder = place.free_folder(name)
    run = workspace.start_run(f"_new-{name}", name, model, budget=budget)
    source = read_source(_fetched(run, origin) if _is_address(origin) else Path(origin).expanduser())
    draft = run.path / "draft" / name
    if source.fits_already():
        _lay_out(source, draft)
        load_template(str(draft))  # it can be read
        place.put(draft, folder)
        say(f"The folder is a template already: {len(source.files)} files were copied as they are.")
        return True
    source.script = find_script(source, script)
    say(f"The experiment is {source.script}; {len(source.files)} files.")
    for file, why in source.left_out.items():
        say(f"  not taken along: {file} ({why})")
    for file in sorted(OURS.intersection(source.files) - {source.script}):
        say(f"  gives way to the template's own: {file}")
    adoption = Adopting(run, model, name, source, level, say)
    fits = adoption.carry_out(timeout)
    place.put(draft, folder)
    return fits


def _is_address(origin: str) -> bool:
    return bool(re.match(r"[a-z+]+://|git@", origin))


def _fetched(run: Run, address: str) -> Path:
    """A clone of a repository, made once."""
    clone = run.path / "source" / re.sub(r"\.git$", "", address.rstrip("/").rpartition("/")[2].rpartition(":")[2])

    def work(intent: Intent) -> str:
        shutil.rmtree(clone, ignore_errors=True)
        clone.parent.mkdir(parents=True, exist_ok=True)
        command = ["git", "clone", "--quiet", "--depth", "1", "--", address, str(clone)]
        env = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        done = process.run(command, cwd=clone.parent, timeout=CLONE_SECONDS, env=env, on_start=intent.child)
        if not done.ok:
            raise KitError(f"{address} could not be cloned: {done.tail.strip() or 'it took too long'}")
        return clone.name

    run.steps.once(Key("template", "fetch"), address, work, still_good=lambda _: clone.is_dir())
    return clone


def _lay_out(source: Source, draft: Path, without: tuple[str, ...] = ()) -> None:
    """A new folder with the person's files, each as it is."""
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name in source.files:
        if name not in without:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source.folder / name, draft / name)


class Adopting:
    """One script on its way to becoming a template."""

    def __init__(self, run: Run, model: str, name: str, source: Source, level: str, say: Say):
        self.run, self.model, self.name, self.source, self.say = run, model, name, source, say
        self.draft, self.folder = run.path / "draft" / name, workspace.project_root() / "templates" / name
        self.level: sandbox.Level = sandbox.choose(level)
        self.chat: Chat = connect(run, model, "template")

    def carry_out(self, timeout: float) -> bool:
        """Adopt, check and mend; the draft is then as good as it gets. Whether it fits."""
        scripted = self.model == "offline"
        source, trial = self.source, self.trial(timeout if scripted else min(timeout, FIRST_LOOK))
        if trial.hint:
            goes_on = "" if scripted else f"{self.model} is told so and goes on. To see it run first, stop here. "
            self.say(goes_on + trial.hint)
        if not scripted and (cut := source.cut()):
            self.say(f"  the model does not see the whole of: {', '.join(cut)}")
        adopted = self.chat.ask("template/adopt", Adoption, source=source, trial=trial, check=_must_hold_together)
        plot = adopted.plot if adopted.plot.strip() else text("plot.py")
        programs = {"experiment.py": adopted.experiment, "plot.py": plot}
        findings = self.check(adopted, programs, 0, timeout)
        for number in range(1, 1 if scripted else ROUNDS + 1):
            if not (bad := [finding for finding in findings if finding.needed and not finding.ok]):
                break
            self.say(f"\nRound {number} of at most {ROUNDS}: {self.model} is told what does not fit.")
            edits = self.chat.ask(
                "template/mend", Edits, index=number, experiment=programs["experiment.py"], plot=programs["plot.py"],
                findings=bad, preset=adopted.sizes[0].name,
                check=lambda reply, now=programs: apply(reply.edits, now, now),
            )  # fmt: skip
            programs = apply(edits.edits, programs, programs)
            findings = self.check(adopted, programs, number, timeout)
        self.tell(adopted, programs)
        return all(finding.ok or not finding.needed for finding in findings)

    def trial(self, limit: float) -> Trial:
        """Run the script as it is, locked in, in a copy of its folder."""
        source, room = self.source, self.run.path / "trial" / self.source.folder.name
        template = Template(name=self.name, path=self.folder)
        log = self.run.path / "trial.txt"

        def work(intent: Intent) -> Trial:
            _lay_out(source, room)
            before = each_seed.files_of(room)
            programs = Programs(template, self.level)
            done = programs.run([source.script], room, limit, log, intent, title=source.script)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            found = each_seed.measured(lines, room, before)
            shutil.rmtree(room)
            tail = done.tail[-3000:].replace(f"{room}/", "")
            return Trial(ok=done.ok, timed_out=done.timed_out, seconds=round(done.seconds, 1), limit=limit, tail=tail,
                         numbers={name: values[-1] for name, values in found.items()},
                         hint="" if done.ok else self.hint(tail))  # fmt: skip

        self.say(f"Running it once as it is (at most {limit:g} s) …")
        content = [self.contents(source.folder), source.script, limit, str(template.python)]
        done = self.run.steps.once(Key("template", "trial", self.name), content, work)
        trial = Trial.model_validate(done.result)
        outcome = "ran" if trial.ok else "was still running" if trial.timed_out else "did not run"
        self.say(f"It {outcome} ({trial.seconds:g} s); numbers found: {', '.join(trial.numbers) or 'none'}.")
        return trial

    def hint(self, tail: str) -> str:
        """What a script may lack here, and how it gets it."""
        if lost := re.search(r"No module named '(\w+)", tail):
            venv, names = f"templates/{self.name}/.venv", " ".join([*OUR_OWN, PACKAGES.get(lost[1], lost[1])])
            line = f"{Path(sys.executable).name} -m venv {venv} && {venv}/bin/pip install {names}"
            return f"Make an environment for it, then type the same command again:\n  {line}"
        if re.search(r"urlopen error|NameResolution|ConnectionError|Network is unreachable|resolve host", tail):
            return "There is no network where experiments run: put what it fetches into the folder first."
        return ""

    def contents(self, folder: Path) -> str:
        """What the person's files hold, in eight letters."""
        return digest([(name, (folder / name).read_bytes().hex()) for name in self.source.files])

    def check(self, adopted: Adoption, programs: dict[str, str], number: int, timeout: float) -> list[Finding]:
        """Lay the draft out and look it over; a look that was taken is not taken again."""
        source = self.source
        spare = () if source.is_imported(source.script) else (source.script,)
        _lay_out(source, self.draft, without=(*spare, *OURS))
        now = adopted.model_copy(update={"experiment": programs["experiment.py"], "plot": programs["plot.py"]})
        guess = "a guess from its name" if self.model == "offline" else f"as {self.model} says"
        writing.write(self.draft, now, self.name, source.script, guess)
        if (self.folder / ".venv").is_dir():
            (self.draft / ".venv").symlink_to(self.folder / ".venv")
        content = [self.contents(source.folder), now.model_dump(mode="json"), timeout, self.level]

        def work(intent: Intent) -> list[Finding]:
            found = [*look_over(str(self.draft), "", timeout, self.level)]
            return [_plain(finding, self.draft, self.name) for finding in found + self.as_declared(adopted)]

        done = self.run.steps.once(Key("template", "check", self.name, number), content, work)
        (self.draft / ".venv").unlink(missing_ok=True)
        findings = [Finding(*finding) for finding in done.result]
        self.say(f"\n{Findings(findings)}")
        return findings

    def as_declared(self, adopted: Adoption) -> list[Finding]:
        """Whether it measures what template.toml says, and whether a seed makes a difference."""
        out_dir = workspace.outputs() / "_check" / self.name / "first" / "run_0"
        if not (out_dir / "final_info.json").is_file():
            return []
        sets = results.read_final_info(out_dir)
        lost = [m.name for m in adopted.metrics if not any(m.name in one.means for one in sets.values())]
        seeds = [values for one in sets.values() for values in one.seeds.values() if len(values) > 1]
        flat = bool(seeds) and all(max(v) - min(v) <= CLOSE * max(map(abs, v)) for v in seeds)
        lack = Finding("declared", False, f"not in final_info.json: {', '.join(lost)}", "report each of them")
        cure = "let the data or the first weights come from the seed"
        same = Finding("spread", False, "all seeds say the same", cure, needed=False)
        return [lack] * bool(lost) + [same] * flat

    def tell(self, adopted: Adoption, programs: dict[str, str]) -> None:
        """Show and keep what was changed, and what has to be checked."""
        changed = diff(self.source.read(self.source.script), programs["experiment.py"], "experiment.py")
        file = save(self.run.path / "adopted.diff", changed)
        self.say(f"\nFrom {self.source.script} to experiment.py ({file.relative_to(workspace.outputs().parent)}):\n")
        self.say(changed)
        if self.model != "offline":
            self.say(f"All that was said: kit trace {self.run.name}")
        for line in adopted.assumed:
            self.say(f"  to check: {line}")


def _plain(finding: Finding, draft: Path, name: str) -> Finding:
    """A finding without this machine's paths: it is shown to a model, and stands for the template's final place."""
    room, root = workspace.outputs() / "_check" / name, workspace.project_root()
    words = []
    for said in (finding.found, finding.cure):
        said = re.sub(re.escape(str(room)) + r"/\w+/bench/run_0/", "", said).replace(f"{room}/", "")
        for path in (str(draft), str(draft.relative_to(root)) if draft.is_relative_to(root) else str(draft)):
            said = said.replace(path, f"templates/{name}")
        words.append(re.sub(r"^\d+\.\d s", "it ran", said))
    return finding._replace(found=words[0][-4000:], cure=words[1])


def _must_hold_together(adopted: Adoption) -> None:
    """What is protected has to be there; the sizes have to be different ones."""
    known = {getattr(part, "name", None) or getattr(part, "id", "") for part in ast.walk(ast.parse(adopted.experiment))}
    if lost := [name for name in adopted.protected if writing.bare(name) not in known]:
        raise FormatError(f"`protected` names what is not in experiment.py: {', '.join(lost)}")
    if len({size.name for size in adopted.sizes}) < len(adopted.sizes):
        raise FormatError("Two `sizes` have one name.")
    if len({metric.name for metric in adopted.metrics}) < len(adopted.metrics):
        raise FormatError("Two `metrics` have one name.")
