"""The one verb: prompt by name, reply by type, stored before it is used."""

import json

import conftest
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.archive import Archive
from kit.llm import call_table, connect, total_cost, volume
from kit.llm.ledger import money
from kit.llm.providers import Completion
from kit.llm.replies import find_object, parse_reply, strict_schema
from kit.llm.shape import shape
from kit.outcomes import Outcomes
from kit.schemas import Choices, FormatError, Idea, KitError, Plan, Reflection, Review, ReviewReflection
from kit.template import Template
from kit.workspace import Run

IDEA = {
    "Name": "my_idea",
    "Title": "T",
    "Experiment": "E",
    "Interestingness": 5,
    "Feasibility": 6,
    "Novelty": 7,
}


@pytest.fixture
def chat(run: Run, script, tmp_path):
    (tmp_path / "experiment.py").write_text("rate = 1\n")
    template = Template(name="t", path=tmp_path, task_description="Do it.")
    return connect(run, "test/any", "ideas", template=template)


def propose(chat) -> Idea:
    return chat.ask("ideas/propose", Idea, archive=Archive(), number=1, outcomes=Outcomes(), max_runs=5)


def test_a_reply_comes_back_as_its_type(chat, script):
    script.append(json.dumps(IDEA))
    assert propose(chat) == Idea(**IDEA)
    (request,) = conftest.HEARD
    assert "Do it." in request.system and "rate = 1" in request.system
    assert '"Interestingness"' in request.messages[0]["content"], "the form goes to the model"


def test_a_malformed_reply_goes_back_with_the_error(chat, script):
    script += ["I think…", json.dumps(IDEA | {"Novelty": 11}), json.dumps(IDEA)]
    assert propose(chat).Novelty == 7
    turns = [message["content"] for message in conftest.HEARD[2].messages]
    assert "No JSON object" in turns[2] and "Novelty: Input should be less than or equal to 10" in turns[4]
    assert [m["role"] for m in conftest.HEARD[2].messages] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]


def test_after_two_corrections_it_raises(chat, script):
    script += ["no", "no", "no", json.dumps(IDEA)]
    with pytest.raises(KitError, match=r"3 times.*ideas\.jsonl"):
        propose(chat)
    assert len(script) == 1


def test_nothing_is_asked_twice(chat, script, run):
    script += ["no", json.dumps(IDEA)]
    first = propose(chat)
    again = connect(run, "test/any", "ideas", template=chat.common["template"])
    assert propose(again) == first and len(conftest.HEARD) == 2
    assert again.replayed == [True, True]
    lines = (run.path / "chats" / "ideas.jsonl").read_text().splitlines()
    assert [json.loads(line)["reply"] for line in lines] == ["no", json.dumps(IDEA)]


def test_members_of_an_ensemble_stay_different_samples(chat, script):
    script += [json.dumps(IDEA | {"Name": f"idea_{n}"}) for n in range(3)]
    each = [{"archive": Archive(), "number": 1, "outcomes": Outcomes(), "max_runs": 5}] * 3
    names = {idea.Name for idea in chat.ask_many("ideas/propose", Idea, each, at_once=3)}
    assert names == {"idea_0", "idea_1", "idea_2"}


def test_the_ledger_adds_up(chat, script, run):
    script += ["no", json.dumps(IDEA)]
    propose(chat)
    assert total_cost(run) == "$0.50"
    shown = call_table(run)
    assert "propose" in str(shown) and "20" in str(shown) and "$0.50" in shown._repr_html_()


def test_what_began_like_an_earlier_prompt_is_not_new(chat, script, run):
    script += [json.dumps(IDEA), json.dumps(IDEA)]
    propose(chat)
    one, _ = volume(run)
    assert volume(run) == (one, one)
    chat.ask("ideas/propose", Idea, archive=Archive(), number=2, outcomes=Outcomes(), max_runs=5, index=1)
    alike = conftest.HEARD[1].messages[0]["content"].index("2")
    assert volume(run) == (2 * one, 2 * one - len(conftest.HEARD[1].system) - alike)
    assert f"{2 * one:,} characters sent" in call_table(run).total


def test_of_many_the_first_goes_ahead(chat, script):
    script += [json.dumps(IDEA | {"Name": f"idea_{n}"}) for n in range(3)]
    each = [{"archive": Archive(), "number": n, "outcomes": Outcomes(), "max_runs": 5} for n in range(3)]
    first, *others = chat.ask_many("ideas/propose", Idea, each)
    assert first.Name == "idea_0" and "Propose idea 0" in conftest.HEARD[0].messages[0]["content"] and len(others) == 2
    assert chat.ask_many("ideas/propose", Idea, []) == []


def test_the_form_of_a_reply_is_told_a_line_a_field():
    told = shape(Plan)
    assert '\n "seeds": whole number  // seeds of every run' in told and "at least 0; 0 if left out\n" in told
    assert '\n "arms": [{\n  "name": text  // lower case, words joined by underscores; matches ^[a-z0-9]' in told
    assert '\n  "role": "variant" or "control" or "ablation" or "reference"  // ' in told
    assert "}, …]  // at least 1\n" in told and max(map(len, told.splitlines())) < 170
    assert '\n "Overall": 1 to 10\n' in shape(Review) and '"Ethical Concerns": true or' in shape(Review)
    correction = shape(ReviewReflection)
    assert '"value": whole number or true or false or text or [text, …]  // the whole field' in correction


@pytest.mark.parametrize("reply", [Plan, Review, ReviewReflection, Idea])
def test_the_form_names_every_field_that_the_provider_is_given(reply):
    schema = strict_schema(reply)
    parts = [schema, *schema.get("$defs", {}).values()]
    assert all(f'"{name}": ' in shape(reply) for part in parts for name in part.get("properties", {}))


def test_an_unknown_price_is_never_nothing():
    assert money([0.1, None]) == "$0.10 + 1 call of unknown price"
    assert money([None, None]) == "unknown"


@pytest.mark.parametrize("model", ["gpt-4o", "opena/gpt-4o", "openai", ""])
def test_an_unknown_model_names_the_providers(run, model):
    with pytest.raises(KitError, match=r"openai.*offline"):
        connect(run, model or "none", "ideas")


def test_a_missing_key_is_named(run, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(KitError, match="OPENAI_API_KEY"):
        connect(run, "openai/gpt-4o", "ideas")


@pytest.mark.parametrize("reply", [Idea, Plan, Review, Choices, Reflection])
def test_schemas_fit_strict_modes(reply):
    def walk(node):
        if isinstance(node, dict):
            if node.get("type") == "object":
                assert node["additionalProperties"] is False and set(node["required"]) == set(node["properties"])
            assert not {"minimum", "pattern", "default"} & set(node) - set(node.get("properties", {}))
            [walk(part) for part in node.values()]
        elif isinstance(node, list):
            [walk(part) for part in node]

    schema = strict_schema(reply)
    walk(schema)
    assert set(schema["properties"]) == {f.alias or name for name, f in reply.model_fields.items()}


def test_a_cut_reply_is_asked_again_with_more_room(chat, script):
    script += [Completion(text='{"Name": "my', tokens_out=8192, end="cut"), json.dumps(IDEA)]
    assert propose(chat).Name == "my_idea"
    assert conftest.HEARD[1].room > 8192 and len(conftest.HEARD[1].messages) == 1


def test_a_refusal_is_named(chat, script):
    script += [Completion(text="I will not.", end="refused")]
    with pytest.raises(KitError, match=r"refused to answer 'ideas/propose'.*I will not"):
        propose(chat)


@given(st.text())
def test_any_text_is_a_reply_or_a_format_error(text: str):
    try:
        parse_reply(text, Idea)
    except FormatError as error:
        assert str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.sampled_from(["{}", "```json\n{}\n```", "Well:\n{}\nDone.", "```\n{}\n```"]),
)
def test_an_object_is_found_however_it_is_wrapped(data: dict, wrapping: str):
    assert find_object(wrapping.replace("{}", json.dumps(data))) == data
