from autointerp.questions.forms import answers_in
from autointerp.questions.scorers.surprisal import TASK
from autointerp.raters._losses import NEUTRAL, losses_reply, texts_to_expect
from autointerp.records import Item, ItemContext, Reply


def item(*texts, description="cats,\nmostly {description}"):
    contexts = tuple(ItemContext((text,), None, None, "score", False) for text in texts)
    return Item("aa", TASK.id, contexts, description=description)


def test_the_prefixes_differ_in_the_description_alone():
    read = texts_to_expect(item("a\n", "b"), TASK)
    assert read["texts"] == ["a\n", "b"]
    assert read["given"] == "Description: cats, mostly {description}\nSentences:\n"
    assert read["without"] == f"Description: {NEUTRAL}\nSentences:\n"
    assert read["head"] + read["without"] == TASK.text.replace("{description}", NEUTRAL) + "\n"


def test_an_empty_text_cannot_be_read():
    assert texts_to_expect(item("a", ""), TASK) == {"lack": "a text is empty"}


def test_losses_are_read_as_what_the_description_saves():
    reply = Reply(losses_reply([1.25, 3.0], [2.0, 2.5]))
    assert answers_in(TASK, reply) == {1: 0.75, 2: -0.5}
