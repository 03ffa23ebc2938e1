"""The conversation with a model: prompt by name, reply by type, every call stored before it is used."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel

from kit import prompts
from kit.llm.providers import Completion, Request, find_provider, load_answer
from kit.llm.replies import has_grammar, parse_reply, schema_text
from kit.schemas import FormatError, KitError
from kit.store import Intent, Key, dumps, save
from kit.workspace import Run

T = TypeVar("T", bound=BaseModel)
ATTEMPTS = 3  # the first, and two more with the error in view


class Chat:
    """A model in one stage of one idea, with the values that all its prompts share."""

    def __init__(self, run: Run, model: str, stage: str, idea: str = "", seed: int = 0, /, **common: Any):
        self.run, self.model, self.stage, self.idea, self.seed = run, model, stage, idea, seed
        self.common = common
        self.provider, self.model_name = find_provider(model)
        self.transcript: list[dict] = []

    def ask(
        self,
        prompt: str,
        reply: type[T],
        *,
        index: int = 0,
        check: Callable[[T], Any] | None = None,
        **values: Any,
    ) -> T:
        """Ask one prompt and get one object of the reply's type.

        `index` tells apart calls that are otherwise the same (rounds, members of an ensemble). A reply that is
        malformed, or that `check` refuses with a FormatError, goes back to the model with the error, at most
        twice; then KitError.
        """
        request = self._request(prompt, reply, index, values)
        for attempt in range(ATTEMPTS):
            completion = self._complete(request, attempt)
            if completion.end == "refused":
                raise KitError(f"{self.model} refused to answer {prompt!r}: {completion.text[:300]!r}")
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
                sorry = prompts.render("_fragments/try_again", {"trouble": str(error)})
                turns = [
                    {"role": "assistant", "content": completion.text},
                    {"role": "user", "content": sorry},
                ]
                request = request._replace(messages=[*request.messages, *turns])
        raise KitError(
            f"{self.model} was asked {prompt!r} {ATTEMPTS} times and no reply had the form of "
            f"{reply.__name__}. The last trouble: {trouble} All replies are in {self._chat_file()}."
        )

    def ask_many(self, prompt: str, reply: type[T], each: Iterable[dict[str, Any]], at_once: int = 8) -> list[T]:
        """Ask the same prompt with several sets of values, at once; replies in the order of the values."""
        with ThreadPoolExecutor(at_once) as pool:
            futures = [pool.submit(partial(self.ask, prompt, reply, **({"index": i} | v))) for i, v in enumerate(each)]
            return [future.result() for future in futures]

    def _request(self, prompt: str, reply: type[BaseModel], index: int, values: dict[str, Any]) -> Request:
        everything = self.common | values
        text = prompts.render(prompt, everything)
        if not has_grammar(reply):
            text += "\n\n" + prompts.render("_fragments/json_reply", {"schema": schema_text(reply)})
        system = prompts.render(f"{self.stage}/system", self.common)
        message = {"role": "user", "content": text}
        return Request(self.model_name, prompt, system, [message], everything, reply, self.seed, index)

    def _complete(self, request: Request, attempt: int) -> Completion:
        key = Key(self.stage, request.prompt.partition("/")[2], self.idea, request.index, attempt)
        content = [self.model, self.seed, request.system, request.messages]

        def call(intent: Intent) -> dict:
            completion = load_answer(self.provider)(request._replace(say=intent.remark), self.provider)
            return {"model": self.model, "prompt": request.prompt, **completion.model_dump()}

        step = self.run.calls.once(key, content, call)
        self._remember(request, step.result, step.replayed)
        return Completion.model_validate(step.result)

    def _chat_file(self):
        return (self.run.path / self.idea if self.idea else self.run.path) / "chats" / f"{self.stage}.jsonl"

    def _remember(self, request: Request, result: dict, replayed: bool) -> None:
        # Written whole from memory, replays included, so that a killed run leaves no gap and no double.
        turn = {"prompt": request.prompt, "index": request.index, "system": request.system,
                "messages": request.messages, "reply": result["text"], "replayed": replayed}  # fmt: skip
        self.transcript.append(turn)
        lines = (" ".join(dumps(turn).splitlines()) for turn in list(self.transcript))
        save(self._chat_file(), "\n".join(lines) + "\n")

    def _repr_markdown_(self) -> str:
        return f"`{self.model}` in stage *{self.stage}*" + (f", idea `{self.idea}`" if self.idea else "")


def connect(run: Run, model: str, stage: str, idea: str = "", seed: int = 0, /, **common: Any) -> Chat:
    """A chat with `provider/model`; without a name, with the model that the run was started with.

    `common` are the values that every prompt of the stage may use; its system.md is made of them alone, so
    that what does not change stands first and providers' caches hit.
    """
    return Chat(run, model or run.about["model"], stage, idea, seed, **common)
