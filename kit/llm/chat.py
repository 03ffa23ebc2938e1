"""The conversation with a model: prompt by name, reply by type, every call stored before it is used."""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from kit import prompts
from kit.llm import budget, pictures
from kit.llm.providers import Completion, Request, find_provider, load_answer
from kit.llm.replies import has_grammar, parse_reply
from kit.llm.shape import shape
from kit.schemas import FormatError, KitError
from kit.store import Intent, Key, Step, dumps, save
from kit.workspace import Run

T = TypeVar("T", bound=BaseModel)
ATTEMPTS = 3  # the first, and two more with the error in view


class Refusal(KitError):
    """The model would not answer."""


class Unusable(KitError):
    """No reply had the form that was asked for: malformed, empty or cut."""


class Chat:
    """A model in one stage of one idea, with the values that all its prompts share."""

    def __init__(self, run: Run, model: str, stage: str, idea: str = "", seed: int = 0, /, **common: Any):
        self.run, self.model, self.stage, self.idea, self.seed = run, model, stage, idea, seed
        self.common = common
        self.provider, self.model_name = find_provider(model)
        self.purse = budget.Purse(run)
        budget.refuse_unknown_price((self.purse.whole, self.purse.each), self.provider, self.model_name)
        self.file = (run.path / idea if idea else run.path) / "chats" / f"{stage}.jsonl"
        self.turns: dict[str, str] = _read_turns(self.file)
        self.replayed: list[bool] = []  # of each call of this object: whether it was read from disk
        self._writing = threading.Lock()

    def ask(
        self,
        prompt: str,
        reply: type[T],
        *,
        index: int = 0,
        pictures: Sequence[Path] = (),
        check: Callable[[T], Any] | None = None,
        **values: Any,
    ) -> T:
        """Ask one prompt and get one object of the reply's type.

        `index` tells apart calls that are otherwise the same (rounds, members of an ensemble). `pictures` are shown
        to a model that sees; another is asked without them. A reply that is malformed, or that `check` refuses with
        a FormatError, goes back to the model with the error, at most twice. Raises Unusable, Refusal, BudgetError.
        """
        request = self._request(prompt, reply, index, values)._replace(pictures=tuple(pictures))
        trouble: object = ""
        for attempt in range(ATTEMPTS):
            completion = self._complete(request, attempt)
            if completion.end == "refused":
                raise Refusal(f"{self.model} refused to answer {prompt!r}: {completion.text[:300]!r}")
            if completion.end == "cut":
                trouble = f"the reply was cut off after {completion.tokens_out} tokens."
                request = request._replace(room=4 * max(completion.tokens_out, 4096))
                continue
            try:
                answer = parse_reply(completion.text, reply)
                if check:
                    check(answer)
                return answer
            except FormatError as error:
                trouble = error
                request = request._replace(messages=[*request.messages, *_go_back(completion.text, error)])
        raise Unusable(
            f"{self.model} was asked {prompt!r} {ATTEMPTS} times and no reply had the form of "
            f"{reply.__name__}. The last trouble: {trouble} All replies are in {self.file}."
        )

    def ask_many(self, prompt: str, reply: type[T], each: Iterable[dict[str, Any]], at_once: int = 8) -> list[T]:
        """Ask the same prompt with several sets of values; replies in the order of the values.

        The first goes ahead. The others follow all at once, and find the beginning that they share with it in the
        provider's cache.
        """
        asks = [partial(self.ask, prompt, reply, **({"index": number} | values)) for number, values in enumerate(each)]
        first = [ask() for ask in asks[:1]]
        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(ask) for ask in asks[1:]]
            return first + [future.result() for future in futures]

    def _request(self, prompt: str, reply: type[BaseModel], index: int, values: dict[str, Any]) -> Request:
        everything = self.common | values
        text = prompts.render(prompt, everything)
        if not has_grammar(reply):
            text += "\n\n" + prompts.render("_fragments/json_reply", {"shape": shape(reply)})
        system = prompts.render(f"{self.stage}/system", self.common)
        message = {"role": "user", "content": text}
        return Request(self.model_name, prompt, system, [message], everything, reply, self.seed, index)

    def _complete(self, request: Request, attempt: int) -> Completion:
        idea = self.idea or getattr(request.values.get("idea"), "Name", "")
        key = Key(self.stage, request.prompt.partition("/")[2], idea, request.index, attempt)
        content = [self.model, self.seed, request.system, request.messages]
        if request.pictures:
            content.append(pictures.digests(list(request.pictures)))
        if request.beside:
            content.append(request.beside)

        def call(intent: Intent) -> dict:
            with self.purse.hold(request._replace(say=intent.remark), self.provider, idea, intent) as held:
                completion = self._answer(held, intent)
            return {"model": self.model, "prompt": request.prompt, "pictures_given": len(request.pictures),
                    "characters_in": _size(request), **completion.model_dump()}  # fmt: skip

        step = self.run.calls.once(key, content, call)
        self._remember(request, step)
        return Completion.model_validate(step.result)

    def _answer(self, request: Request, intent: Intent) -> Completion:
        return load_answer(self.provider)(request, self.provider)

    def _remember(self, request: Request, step: Step) -> None:
        """Add the call to chats/<stage>.jsonl, once: what an earlier, killed run wrote there stays."""
        beside = [{"role": "file", "content": request.beside}] if request.beside else []
        turn = {"call": step.file.name, "prompt": request.prompt, "index": request.index, "system": request.system,
                "messages": beside + request.messages, "reply": step.result["text"]}  # fmt: skip
        with self._writing:
            self.replayed.append(step.replayed)
            if step.file.name not in self.turns:
                self.turns[step.file.name] = " ".join(dumps(turn).splitlines())
                save(self.file, "\n".join(self.turns.values()) + "\n")

    def _repr_markdown_(self) -> str:
        return f"`{self.model}` in stage *{self.stage}*" + (f", idea `{self.idea}`" if self.idea else "")


def _read_turns(file: Path) -> dict[str, str]:
    """The lines of a chat that is there, by the call that each came from."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {json.loads(line)["call"]: line for line in lines}


def _go_back(text: str, error: FormatError) -> list[dict[str, str]]:
    """What the model reads before it tries again; an empty reply cannot be quoted to it."""
    sorry = {"role": "user", "content": prompts.render("_fragments/try_again", {"trouble": str(error)})}
    return [{"role": "assistant", "content": text}, sorry] if text.strip() else []


def _size(request: Request) -> int:
    return len(request.system + request.beside) + sum(len(message["content"]) for message in request.messages)


def connect(run: Run, model: str, stage: str, idea: str = "", seed: int = 0, /, **common: Any) -> Chat:
    """A chat with `provider/model`; without a name, with the model that the run was started with.

    `common` are the values that every prompt of the stage may use; its system.md is made of them alone, so
    that what does not change stands first and providers' caches hit.
    """
    return Chat(run, model or run.about["model"], stage, idea, seed, **common)
