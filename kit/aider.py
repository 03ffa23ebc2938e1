"""The other hand: aider, a program of its own, edits experiment.py where the chat's SEARCH/REPLACE blocks would."""

import difflib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from kit import editor, process
from kit.editor import Edits
from kit.llm import Chat, prices
from kit.llm.faults import Unavailable, silence, without_keys
from kit.llm.providers import ANTHROPIC, OPENAI, Completion, Provider, Request
from kit.llm.remote import ROOM
from kit.schemas import Edit, FormatError, KitError
from kit.store import Intent, save

FILE = "experiment.py"
INSTALL = "uv tool install --python 3.12 aider-chat"  # an environment of its own: it pins what we do not
TURNS = 4  # its first try, and three in which it mends edits that did not fit
PASSED_ON = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
# It asks before it writes to another file, runs a command or opens a page; whatever it asks, the answer is no.
NO = ("/bin/sh", "-c", 'yes n | exec "$@"', "sh")
QUIET = ("--no-fancy-input", "--no-pretty", "--no-stream", "--no-git", "--no-check-update", "--no-auto-lint",
         "--no-show-model-warnings", "--no-show-release-notes", "--no-suggest-shell-commands", "--no-detect-urls",
         "--analytics-disable", "--map-tokens", "0", "--max-chat-history-tokens", "1000000")  # fmt: skip
CONTEXTS = (1, 3, 10, 10**9)  # lines around a change, until its place is unique


def take(hand: str, chat: Chat) -> Chat:
    """The hand that edits: "blocks", the chat itself, or "aider"; KitError where it cannot be had."""
    if hand not in ("blocks", "aider"):
        raise KitError(f'There is no editor {hand!r}. Write editor="blocks" or editor="aider".')
    return chat if hand == "blocks" else Aider(chat)


class Aider(Chat):
    """A chat in which aider answers the prompt `<stage>/edit`, one trial at a time; all else goes the usual way.

    Its calls are stored, counted and held against the budget as all others are. A file that it left as it was
    is a malformed reply: aider is told, and tries again at most twice.
    """

    def __init__(self, chat: Chat):
        vars(self).update(vars(chat))  # one memory: both write the same file of turns
        self.engine = engine(self.provider, self.model_name)
        self.program = find()

    def ask(self, prompt: str, reply: type[Any], **values: Any) -> Any:
        """As any chat; edits of several programs are made one after the other, for aider knows one file.

        A program whose start has not run is not there yet, and is left for later.
        """
        asked = values.get("trials", [])
        if len(asked) < 2:
            return super().ask(prompt, reply, **values)
        trials = [trial for trial in asked if not trial.waits]
        one_by_one = [values | {"trials": [trial], "index": trial.index, "check": None} for trial in trials]
        made = [super(Aider, self).ask(prompt, reply, **each) for each in one_by_one]
        named = [edit.model_copy(update={"path": trial.file})
                 for trial, edits in zip(trials, made, strict=True) for edit in edits.edits]  # fmt: skip
        return Edits(edits=named, explanation="\n\n".join(edits.explanation for edits in made))

    def _request(self, prompt: str, reply: type[BaseModel], index: int, values: dict[str, Any]) -> Request:
        if prompt != f"{self.stage}/edit":
            return super()._request(prompt, reply, index, values)
        request = super()._request(f"{self.stage}/aider", reply, index, values)
        return request._replace(beside=values["trials"][0].code, turns=TURNS)

    def _answer(self, request: Request, intent: Intent) -> Completion:
        if not request.beside:
            return super()._answer(request, intent)
        with tempfile.TemporaryDirectory(prefix="kit-aider-") as name:
            room = Path(name)
            done = self._edit(request, room, intent)
            tokens, turns = _spent(room / "events.jsonl")
            if not turns:  # nothing was said, so nothing is stored: the cure may lie outside
                why, tail = "was stopped" if done.timed_out else "ended", without_keys(done.tail[-500:])
                said = f"aider {why} after {done.seconds:.0f} s without an answer. Run again to go on."
                raise Unavailable(f"{said}\n{tail}")
            after = (room / FILE).read_text(encoding="utf-8")
            text = _told(room / "said.txt", request.beside, after, done.timed_out)
        cost = prices.cost(self.provider.name, self.model_name, self.provider.prices, tokens)
        return Completion(text=text, tokens_in=tokens.read, tokens_out=tokens.written, turns=turns, cost=cost,
                          faults=["timeout"] if done.timed_out else [])  # fmt: skip

    def _edit(self, request: Request, room: Path, intent: Intent) -> process.Finished:
        """Let aider work on the file in a folder that holds nothing else of ours."""
        save(room / FILE, request.beside)
        save(room / "message.md", "\n\n".join([request.system, *(m["content"] for m in request.messages)]))
        save(room / "settings.yml", json.dumps([self.engine.settings(request.room)]))  # JSON is YAML, too
        save(room / "facts.json", json.dumps({self.engine.name: self.engine.facts()}))
        options = {"model": self.engine.name, "message-file": "message.md", "model-settings-file": "settings.yml",
                   "model-metadata-file": "facts.json", "analytics-log": "events.jsonl", "llm-history-file": "said.txt",
                   "timeout": f"{silence():.0f}"}  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return process.run(
            [*NO, str(self.program), *words, *QUIET, FILE], cwd=room, timeout=TURNS * silence(),
            env=self._environment(room), pass_fds=[intent.lock], on_start=intent.child,
        )  # fmt: skip

    def _environment(self, room: Path) -> dict[str, str]:
        """What aider may know of this machine: the way to the model, and that model's key alone."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return kept | {"HOME": str(room), "LITELLM_LOCAL_MODEL_COST_MAP": "True"} | self.engine.variables


class Engine(NamedTuple):
    """A model as aider names it, and the variables that lead there."""

    name: str
    variables: dict[str, str]

    def settings(self, room: int) -> dict[str, Any]:
        """How aider shall ask it, in the form of its settings file; `room` is in tokens, 0 leaves it open."""
        room = room or (ROOM if self.name.startswith("anthropic/") else 0)  # a protocol that demands a number
        return {"name": self.name, "weak_model_name": self.name, "edit_format": "diff", "use_repo_map": False,
                "use_temperature": False, "extra_params": {"max_tokens": room} if room else {}}  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """What aider would else fetch from the net; without prefill it does not write on past its room."""
        family = self.name.partition("/")[0]
        return {"litellm_provider": family, "mode": "chat", "supports_assistant_prefill": False}


def engine(provider: Provider, model: str) -> Engine:
    """The model of a chat in aider's words; KitError where aider cannot ask it."""
    if provider.name == "offline":
        raise KitError('editor="aider" needs a real model, and "offline" is a script: use editor="blocks" with it.')
    family = {OPENAI: "openai", ANTHROPIC: "anthropic"}.get(provider.answer)
    if not family or provider.client:
        raise KitError(f'editor="aider" cannot reach {provider.about or provider.name}: use editor="blocks" there.')
    variables = {f"{family.upper()}_API_KEY": provider.secret or "none"}
    if provider.base_url:
        variables[f"{family.upper()}_API_BASE"] = provider.base_url
    return Engine(f"{family}/{model}", variables)


def find() -> Path:
    """The aider command: KIT_AIDER from the environment or .env, else `aider` on PATH; KitError says how to get it."""
    named = os.environ.get("KIT_AIDER", "")
    try:
        return process.locate(os.path.expanduser(named) or "aider", Path.cwd())
    except FileNotFoundError:
        where = f"KIT_AIDER={named} is no program" if named else "there is no program aider on PATH"
        raise KitError(
            f'editor="aider" needs aider, and {where}. Install it by `{INSTALL}`, or name it in .env as KIT_AIDER=...; '
            f'editor="blocks" needs nothing.'
        ) from None


# --- what came of it ----------------------------------------------------------------------------


def _spent(events: Path) -> tuple[prices.Tokens, int]:
    """Exact tokens, and how often a model was asked, from aider's log of events (its printed line is rounded)."""
    lines = events.read_text(encoding="utf-8").splitlines() if events.is_file() else []
    sent = [event["properties"] for event in map(json.loads, lines) if event["event"] == "message_send"]
    return prices.Tokens(sum(s["prompt_tokens"] for s in sent), sum(s["completion_tokens"] for s in sent)), len(sent)


def _told(said: Path, before: str, after: str, stopped: bool) -> str:
    """The reply that stands for aider's work: its last words, and blocks that lead to what it left."""
    words = said.read_text(encoding="utf-8").rpartition("LLM RESPONSE ")[2] if said.is_file() else ""
    words = "\n".join(line.removeprefix("ASSISTANT ") for line in words.splitlines()[1:])
    if stopped or _lines(before) == _lines(after):
        trouble = "It was stopped before it had ended." if stopped else f"{FILE} is as it was before."
        return "\n".join(f"> {line}".rstrip() for line in [*words.splitlines(), "", trouble])  # quoted: no block counts
    return f"{_prose(words)}\n\n{as_blocks(before, after, FILE)}".strip()


def _prose(words: str) -> str:
    try:
        return Edits.parse(words).explanation
    except FormatError:  # no block is in it, or none that can be read
        return "" if any(map(editor.OPEN.fullmatch, words.splitlines())) else words.strip()


def as_blocks(before: str, after: str, name: str) -> str:
    """SEARCH/REPLACE blocks that lead from one text to another, as small as their places stay unique."""
    old, new = _lines(before), _lines(after)
    for context in CONTEXTS:
        groups = difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(context)
        spans = [(group[0][1], group[-1][2], group[0][3], group[-1][4]) for group in groups]
        edits = [Edit(path=name, search="".join(f"{line}\n" for line in old[a:b]),
                      replace="".join(f"{line}\n" for line in new[c:d])) for a, b, c, d in spans]  # fmt: skip
        if _lead_there(edits, before, new):
            break
    signs = 7
    while any(set(line) == {"="} and len(line) >= signs for line in map(str.strip, [*old, *new])):
        signs += 3
    return "\n".join(f"{name}\n{'<' * signs} SEARCH\n{e.search}{'=' * signs}\n{e.replace}{'>' * signs} REPLACE\n"
                     for e in edits)  # fmt: skip


def _lead_there(edits: list[Edit], before: str, new: list[str]) -> bool:
    """Whether the edits, applied as any others, give these lines; that they are no Python is for others to say."""
    try:
        text = editor.apply([edit.model_copy(update={"path": "text"}) for edit in edits], {"text": before})["text"]
    except FormatError:
        return False
    return _lines(text) == new


def _lines(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").removesuffix("\n")
    return text.split("\n") if text else []
