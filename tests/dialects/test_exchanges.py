"""The history of an agent, read out of the requests of each API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangtight.dialects.exchanges import LONGEST_PROMPT, MOST_EXCHANGES, Exchange, exchanges, last_prompt
from hangtight.intent.findings import Act
from hangtight.intent.tools import UNKNOWN, Tools

TASK = {"role": "user", "content": "Fix the tests."}
READ = Exchange("read_file", '{"path": "a.py"}', "import os")
GREP = Exchange("grep", '{"pattern": "x"}', "")


def chat(*turns: list[Exchange], ids: bool = True) -> list[dict[str, Any]]:
    """Turns of an agent as OpenAI's chat completions have them."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        marks = [f"call_{number}_{place}" if ids else "" for place in range(len(turn))]
        called = [
            {"id": mark, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for mark, call in zip(marks, turn, strict=True)
        ]
        messages.append({"role": "assistant", "content": None, "tool_calls": called})
        messages += [
            {"role": "tool", "tool_call_id": mark, "content": call.result}
            for mark, call in zip(marks, turn, strict=True)
            if call.result is not UNKNOWN
        ]
    return messages


def claude(*turns: list[Exchange]) -> list[dict[str, Any]]:
    """The same for Anthropic's messages."""
    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        marks = [f"toolu_{number}_{place}" for place in range(len(turn))]
        used = [
            {"type": "tool_use", "id": mark, "name": call.name, "input": json.loads(str(call.arguments))}
            for mark, call in zip(marks, turn, strict=True)
        ]
        messages.append({"role": "assistant", "content": [{"type": "text", "text": "I look."}, *used]})
        results = [
            {"type": "tool_result", "tool_use_id": mark, "content": call.result}
            for mark, call in zip(marks, turn, strict=True)
        ]
        messages.append({"role": "user", "content": results})
    return messages


def responses(*turns: list[Exchange]) -> list[dict[str, Any]]:
    """The same for OpenAI's responses."""
    items: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        for place, call in enumerate(turn):
            mark = f"call_{number}_{place}"
            items += [
                {"type": "function_call", "call_id": mark, "name": call.name, "arguments": call.arguments},
                {"type": "reasoning", "summary": []},
            ]
        for place, call in enumerate(turn):
            items.append({"type": "function_call_output", "call_id": f"call_{number}_{place}", "output": call.result})
    return items


def test_calls_and_results_of_chat_completions_are_matched_by_id() -> None:
    messages = [TASK, *chat([READ, GREP], [GREP])]
    messages[2], messages[3] = messages[3], messages[2]  # results in another order than the calls
    assert exchanges({"messages": messages}) == [READ, GREP, GREP]


def test_the_old_function_calls_of_chat_completions_are_read_too() -> None:
    messages = [
        TASK,
        {"role": "assistant", "content": None, "function_call": {"name": "grep", "arguments": "{}"}},
        {"role": "function", "name": "grep", "content": "nothing"},
    ]
    assert exchanges({"messages": messages}) == [Exchange("grep", "{}", "nothing")]


def test_a_custom_tool_has_its_input_as_text() -> None:
    called = {"id": "c", "type": "custom", "custom": {"name": "python", "input": "print(1)"}}
    messages = [
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
    ]
    assert exchanges({"messages": messages}) == [Exchange("python", "print(1)", [{"type": "text", "text": "1"}])]


def test_a_server_that_uses_the_same_ids_in_every_turn_is_understood() -> None:
    messages = [TASK, *chat([Exchange("a", "{}", "1")]), *chat([Exchange("b", "{}", "2")])]
    assert exchanges({"messages": messages}) == [Exchange("a", "{}", "1"), Exchange("b", "{}", "2")]


def test_results_without_an_id_belong_to_the_calls_in_order() -> None:
    messages = [TASK, *chat([READ, GREP], [GREP, READ], ids=False)]
    assert exchanges({"messages": messages}) == [READ, GREP, GREP, READ]


def test_calls_and_results_of_anthropic_are_read_out_of_their_blocks() -> None:
    found = exchanges({"messages": [TASK, *claude([READ, GREP], [GREP])]})
    read, grep = Exchange("read_file", {"path": "a.py"}, "import os"), Exchange("grep", {"pattern": "x"}, "")
    assert found == [read, grep, grep]


def test_a_reminder_beside_a_result_is_not_a_new_task() -> None:
    messages = [TASK, *claude([READ], [GREP])]
    messages[2]["content"].append({"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"})
    assert len(exchanges({"messages": messages})) == 2
    assert last_prompt({"messages": messages}) == "Fix the tests."


def test_tools_that_anthropic_runs_itself_have_calls_and_results_in_one_message() -> None:
    blocks = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "mcp_tool_use", "id": "m1", "name": "echo", "input": {}, "server_name": "s"},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "content": [{"type": "text", "text": "hi"}]},
        {"type": "text", "text": "done"},
    ]
    assert exchanges({"messages": [TASK, {"role": "assistant", "content": blocks}]}) == [
        Exchange("web_search", {"query": "x"}, []),
        Exchange("echo", {}, [{"type": "text", "text": "hi"}]),
    ]


def test_calls_and_results_of_the_responses_api_are_items_of_their_own() -> None:
    items = [{"role": "user", "content": [{"type": "input_text", "text": "Fix."}]}, *responses([READ, GREP], [GREP])]
    assert exchanges({"input": items}) == [READ, GREP, GREP]


@pytest.mark.parametrize(
    ("call", "output", "expected"),
    [
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "python", "input": "1+1"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "2"},
            Exchange("python", "1+1", "2"),
        ),
        (
            {"type": "local_shell_call", "call_id": "c", "action": {"command": ["ls"]}},
            {"type": "local_shell_call_output", "call_id": "c", "output": "a"},
            Exchange("local_shell_call", {"command": ["ls"]}, "a"),
        ),
        (
            {"type": "mcp_call", "name": "echo", "arguments": "{}", "output": "hi"},
            {"type": "reasoning"},
            Exchange("echo", "{}", "hi"),
        ),
    ],
)
def test_other_kinds_of_calls_of_the_responses_api_are_read_too(
    call: dict[str, Any], output: dict[str, Any], expected: Exchange
) -> None:
    assert exchanges({"input": [call, output]}) == [expected]


def test_ollama_gives_arguments_as_values_and_results_in_order() -> None:
    def called(*names: str) -> dict[str, Any]:
        calls = [{"function": {"name": name, "arguments": {"of": name}}} for name in names]
        return {"role": "assistant", "content": "", "tool_calls": calls}

    messages = [
        TASK,
        called("a", "b"),
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "2"},
        called("a", "b"),
        {"role": "tool", "tool_name": "b", "content": "4"},
        {"role": "tool", "tool_name": "a", "content": "3"},
    ]
    found = exchanges({"messages": messages})
    assert [(call.name, call.arguments, call.result) for call in found] == [
        ("a", {"of": "a"}, "1"),
        ("b", {"of": "b"}, "2"),
        ("a", {"of": "a"}, "3"),
        ("b", {"of": "b"}, "4"),
    ]


def test_a_call_without_a_result_has_an_unknown_one() -> None:
    messages = [TASK, *chat([READ, Exchange("grep", "{}")])]
    assert exchanges({"messages": messages}) == [READ, Exchange("grep", "{}", UNKNOWN)]


def test_an_empty_result_is_a_result() -> None:
    messages = [TASK, *chat([Exchange("grep", "{}", None)])]
    assert exchanges({"messages": messages}) == [Exchange("grep", "{}", None)]


@pytest.mark.parametrize("ids", [True, False])
def test_a_message_of_text_from_the_user_ends_the_walk(ids: bool) -> None:
    messages = [TASK, *chat([READ, READ], ids=ids), TASK, *chat([GREP], ids=ids)]
    assert exchanges({"messages": messages}) == [GREP]
    assert exchanges({"messages": [*messages, TASK]}) == []


def test_a_picture_of_the_screen_does_not_end_the_walk() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    messages = [TASK, *chat([READ]), picture, *chat([GREP]), picture]
    assert exchanges({"messages": messages}) == [READ, GREP]


def test_only_the_newest_are_read() -> None:
    turns = [[Exchange("t", str(number), "r"), Exchange("u", str(number), "r")] for number in range(300)]
    found = exchanges({"messages": [TASK, *chat(*turns)]})
    assert len(found) == MOST_EXCHANGES
    assert found[-1] == Exchange("u", "299", "r")
    assert found[0] == Exchange("t", "284", "r")


def test_the_last_prompt_is_what_the_user_wrote_last() -> None:
    assert last_prompt({"messages": [TASK, *chat([READ])]}) == "Fix the tests."
    assert last_prompt({"messages": [TASK, *claude([READ] * 3, *[[GREP]] * 300)]}) == "Fix the tests."
    assert last_prompt({"input": [TASK, *responses([READ])]}) == "Fix the tests."
    assert last_prompt({"messages": [TASK, {"role": "assistant", "content": "Done."}]}) == "Fix the tests."
    parts = [{"type": "image", "source": {}}, {"type": "text", "text": "Read"}, {"type": "text", "text": "this."}]
    assert last_prompt({"messages": [{"role": "user", "content": parts}]}) == "Read\nthis."


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": "Why?"}, "Why?"),
        ({"prompt": ["Why?", "How?"]}, "How?"),
        ({"prompt": [1, 2, 3]}, ""),
        ({"input": "Why?"}, "Why?"),
        ({"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Why?"}]}]}, "Why?"),
        ({"messages": []}, ""),
        ({}, ""),
    ],
)
def test_the_last_prompt_may_stand_in_many_places(body: dict[str, Any], text: str) -> None:
    assert last_prompt(body) == text


def test_of_a_long_prompt_only_the_end_is_read() -> None:
    for content in ("x" * 9_000 + "!", [{"type": "text", "text": "x" * 9_000 + "!"}] * 3):
        text = last_prompt({"messages": [{"role": "user", "content": content}]})
        assert len(text) == LONGEST_PROMPT
        assert text.endswith("!")
    assert len(last_prompt({"prompt": "x" * 9_000})) == LONGEST_PROMPT


@pytest.mark.parametrize("form", [chat, claude, responses])
@pytest.mark.parametrize(("turns", "act"), [(3, None), (4, Act.HOLD), (5, Act.HOLD), (6, Act.CUT), (40, Act.CUT)])
def test_an_agent_that_goes_round_in_a_circle_is_found_in_each_api(form: Any, turns: int, act: Act | None) -> None:
    messages = [TASK, *form(*[[READ]] * turns)]
    if form is claude:
        messages[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}  # clients move it to the last result
    tools = Tools()
    for call in exchanges({"input" if form is responses else "messages": messages}):
        tools.call(*call)
    found = tools.finding()
    assert (found and found.act) == act


FIELDS = (
    *("messages", "input", "prompt", "role", "content", "type", "text", "id", "call_id", "name", "arguments"),
    *("tool_calls", "function", "function_call", "tool_call_id", "tool_use_id", "output", "action"),
)
WORDS = (
    *("user", "assistant", "tool", "function", "tool_use", "tool_result", "function_call", "function_call_output"),
    *("mcp_call", "text", "x"),
)
nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=30,
)


@given(nonsense)
def test_nonsense_is_no_history_and_no_error(body: Any) -> None:
    assert all(call.name for call in exchanges(body))
    assert isinstance(last_prompt(body), str)


@given(st.sampled_from(["messages", "input"]), st.lists(nonsense, max_size=6))
def test_nonsense_among_messages_is_passed_over(place: str, messages: list[Any]) -> None:
    exchanges({place: messages})
    last_prompt({place: messages})


def test_equal_calls_of_one_message_are_asked_side_by_side_and_count_once() -> None:
    call = {"function": {"name": "roll_dice", "arguments": "{}"}}
    calls = [{"id": str(at), **call} for at in range(6)]
    results = [{"role": "tool", "tool_call_id": str(at), "content": "4"} for at in range(6)]
    body = {"messages": [{"role": "user", "content": "go"}, {"role": "assistant", "tool_calls": calls}, *results]}
    assert exchanges(body) == [Exchange("roll_dice", "{}", "4")]
    results[3]["content"] = "5"
    assert [each.result for each in exchanges(body)] == ["4", "5"]
