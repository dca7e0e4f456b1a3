"""LanguageModel: text in, text out."""

import pytest
import torch

import ts_models
from ts_models.errors import ConfigError, TokenizerError
from ts_models.generation import METHODS

pytestmark = pytest.mark.filterwarnings("ignore:generation.*no effect")


def test_one_prompt_gives_one_text(lm):
    text = lm.generate("w1 w2", method="greedy", max_new_tokens=5)
    assert text.startswith("w1 w2 w")
    assert text == "w1 w2" + lm.generate("w1 w2", method="greedy", max_new_tokens=5, return_full_text=False)


def test_many_prompts_and_many_sequences(lm):
    options = {"method": "sample", "seed": 1, "max_new_tokens": 6}
    assert lm.generate(["w1"], **options) == [lm.generate("w1", **options)]
    assert len(lm.generate("w1", num_return_sequences=3, **options)) == 3
    texts = lm.generate(["w1", "w2 w3"], num_return_sequences=2, **options)
    assert [text.split()[0] for text in texts] == ["w1", "w1", "w2", "w2"]
    assert lm.generate([], **options) == []


def test_a_prompt_begins_with_bos_and_reads_unknown_words_as_unk(lm):
    assert lm.encode_prompt("w1 dragon") == [lm.config.bos_id, 1, lm.config.unk_id]
    assert lm.unknown_words("w1 dragon w2 dragon tea") == ["dragon", "tea"]
    assert lm.generate("w1 dragon", method="greedy", max_new_tokens=3).startswith("w1 dragon w")
    text = lm.generate("", method="greedy", max_new_tokens=3)
    assert text == lm.tokenizer.decode(lm.model.generate([[lm.config.bos_id]], method="greedy", max_new_tokens=3)[0])


def test_a_tokenizer_that_repairs_prompts_is_asked_to_and_stories_are_read_as_written(lm, monkeypatch):
    tokenizer = type(lm.tokenizer)(64)
    monkeypatch.setattr(lm, "tokenizer", tokenizer)
    assert lm.encode_prompt("“w1”") == [lm.config.bos_id, lm.config.unk_id]
    tokenizer.clean_prompt = lambda text: text.strip("“”")
    tokenizer.encode_prompt = lambda text: tokenizer.encode(tokenizer.clean_prompt(text))
    assert lm.encode_prompt("“w1”") == [lm.config.bos_id, 1]
    assert lm.unknown_words("“w1” tea") == ["w1”", "tea"]
    assert lm.unknown_words("“w1”") == []
    assert lm.encode_story("“w1”") == [lm.config.bos_id, lm.config.unk_id, lm.config.eos_id]
    assert lm.generate("“w1”", method="greedy", max_new_tokens=3).startswith("“w1” w")


@pytest.mark.parametrize("method", METHODS)
def test_streams_join_to_the_story(lm, method):
    options = {"method": method, "seed": 4, "max_new_tokens": 12, "num_beams": 3}
    assert "".join(lm.stream("w1 w2", **options)) == lm.generate("w1 w2", return_full_text=False, **options)


@pytest.mark.parametrize("method", METHODS)
def test_stop_texts_end_a_story_and_are_cut(lm, method):
    options = {"method": method, "seed": 4, "max_new_tokens": 12, "num_beams": 3, "min_new_tokens": 12}
    whole = lm.generate("w1", return_full_text=False, **options)
    word = whole.split()[5]
    story = lm.write("w1", stop=[word], **options)[0]
    assert word not in story.text
    if method in {"greedy", "sample"}:  # beams compete anew when one may end
        assert story.finish == "stop"
        assert whole.startswith(story.text)
        assert len(story.ids) <= 6
    assert "".join(lm.stream("w1", stop=[word], **options)) == story.text


def test_a_stop_text_across_tokens_is_never_shown(lm):
    options = {"method": "sample", "seed": 4, "max_new_tokens": 12, "min_new_tokens": 12, "temperature": 3.0}
    whole = lm.generate("w1", return_full_text=False, **options)
    stop = " ".join(whole.split()[5:7])
    pieces = list(lm.stream("w1", stop=[stop], **options))
    assert "".join(pieces) == whole.split(stop)[0].rstrip()
    assert len(whole.split(stop)[0].split()) == 5


def test_events_tell_ids_and_chances(lm):
    events = list(lm.events("w1", method="sample", seed=1, max_new_tokens=5, logprobs=True, alternatives=4))
    assert [event.id for event in events[:-1]] == lm.write("w1", method="sample", seed=1, max_new_tokens=5)[0].ids
    assert all(event.logprob <= 0 and len(event.alternatives) == 4 for event in events[:-1])
    assert events[-1].id is None
    assert events[-1].finish in {"eos", "length"}


def test_neighbours(lm):
    found = lm.neighbours("w5", k=3)
    assert len(found) == 3
    assert all(-1 <= cosine <= 1 for _, cosine in found)
    weight = lm.model.embedding.weight.detach()
    cosines = torch.nn.functional.cosine_similarity(weight[:60], weight[5:6])
    assert found[0] == (f"w{int(cosines.topk(2).indices[1])}", pytest.approx(float(cosines.topk(2).values[1]), abs=1e-5))
    assert not {word for word, _ in lm.neighbours("w5", k=99)} & {"w5", "<eos>", "<bos>", "<unk>", "<pad>"}
    with pytest.raises(ConfigError, match="Did you mean w5"):
        lm.neighbours("w55555")


def test_without_a_tokenizer(lm):
    from ts_models import LanguageModel

    bare = LanguageModel(lm.model)
    with pytest.raises(TokenizerError):
        bare.generate("w1")
    assert bare.model.generate([[61, 3]], method="greedy", max_new_tokens=2)


def test_its_repr_is_one_line_that_says_what_it_is(lm):
    assert (
        repr(lm)
        == f"<LanguageModel transformer: transformer, {ts_models.count_parameters(lm.config):,} parameters, vocabulary 64, on cpu>"
    )
    assert "without a tokenizer" in repr(ts_models.LanguageModel(lm.model))


def test_notebooks_show_a_table(lm):
    shown = lm._repr_html_()
    assert shown.startswith("<table>")
    assert "transformer, " in shown
    assert "48 tokens, goes on beyond" not in shown
    assert "no tokenizer" in ts_models.LanguageModel(lm.model)._repr_html_()
