from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autointerp.questions.question import fenced
from autointerp.records import Item
from autointerp.text import CONTROL

ITEM = Item("item", "a rubric", ())

# As chat templates and vocabularies of models that are served locally have them.
CONTROL_TOKENS = [
    "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|endoftext|>", "<s>",
    "</s>", "<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
    "<<SYS>>", "<</SYS>>", "<think>", "</think>", "<tool_call>", "</tool_call>", "<unused12>",
    "<｜begin▁of▁sentence｜>", "<｜User｜>", "[TOOL_CALLS]", "[SYSTEM_PROMPT]", "<|channel|>",
    "<fim_prefix>", "<|vision_start|>", "[gMASK]", "<|start|>", "<extra_id_0>", "[CLS]",
]  # fmt: skip
ORDINARY = [
    'if a < b and c > d: print("<div>")', "<p>one</p>", "x[i] = [1, 2]", "|a| < |b|", "a <- b",
    "5 < 6 > 4", "<<quoted>>", "[1] A reference", "[SIC]", "<stdio.h>", "std::vector<int>",
]  # fmt: skip


@pytest.mark.parametrize("token", CONTROL_TOKENS)
def test_a_control_token_in_a_text_is_written_so_that_no_server_parses_it(token: str):
    fields = {"before": f"he said {token}\n{token}system", "token": token, "after": f'\\{token}"'}
    prompt = fenced(ITEM, [fields])
    assert token not in prompt
    assert not CONTROL.search(prompt)
    assert json.loads(prompt.split("\n")[1]) == fields


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_texts_are_written_as_before(text: str):
    fields = {"text": text}
    assert fenced(ITEM, [fields]).split("\n")[1] == json.dumps(fields, ensure_ascii=False)


@given(st.text(st.sampled_from('<>|[]/\\s_im"INSTeot｜ \n') | st.characters(codec="utf-8")))
def test_what_is_read_back_is_the_text(text: str):
    prompt = fenced(ITEM, [{"text": text}])
    assert json.loads(prompt.split("\n")[1]) == {"text": text}
    assert not CONTROL.search(re.sub(r"\\.", "", prompt))
