"""The scripted scientist behind `model="offline"`: real code that answers what a model would be asked.

It works from the typed values that `ask` was given and replies with text, which goes the way of every
reply. So the demo, the lesson and the test are one and the same run, with no key and no network.
"""

import random
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from kit.llm.providers import Completion, Provider, Request
from kit.offline import experiments, ideas, pages, paper, quiz, review, revision, templates

Answer = Callable[[dict[str, Any], random.Random], BaseModel | str]

ANSWERS: dict[str, Answer] = {
    "ideas/propose": ideas.propose,
    "ideas/adopt": ideas.adopt,
    "ideas/reflect": ideas.reflect,
    "novelty/query": ideas.query,
    "novelty/judge": ideas.judge_novelty,
    "experiments/plan": experiments.plan,
    "experiments/edit": experiments.edit,
    "experiments/note": experiments.note,
    "experiments/probe": experiments.probe,
    "experiments/conclude": experiments.conclude,
    "experiments/look": experiments.look,
    "experiments/redraw": experiments.redraw,
    "experiments/caption": experiments.caption,
    "citations/search": paper.search,
    "citations/choose": paper.choose,
    "paper/draft": paper.draft,
    "paper/refine": revision.refine,
    "paper/criticise": revision.criticise,
    "paper/revise": revision.revise,
    "paper/look": pages.look,
    "review/review": review.review,
    "review/reflect": review.reflect,
    "review/meta": review.meta,
    "quiz/answer": quiz.answer,
    "template/adopt": templates.adopt,
    "template/mend": templates.mend,
}


def answer(request: Request, provider: Provider) -> Completion:
    """Answer a request; the same values and seed give the same answer."""
    dice = random.Random(f"{request.seed}/{request.prompt}/{request.index}")
    reply = ANSWERS[request.prompt](request.values | {"pictures": request.pictures}, dice)
    text = reply.model_dump_json(by_alias=True, indent=1) if isinstance(reply, BaseModel) else reply
    return Completion(text=text, cost=0.0)
