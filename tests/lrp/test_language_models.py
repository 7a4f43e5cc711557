"""Networks of the transformers library, from small configurations: tokens, sequences and pairs of inputs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from relsplit import LRP
from relsplit.targets import Key, Likeness, NextToken

VOCABULARY = 50
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 40,
}  # fmt: skip
GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
LABELS: dict[str, Any] = {"num_labels": 3, "pad_token_id": 0}
DECODER: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3, "pad_token_id": 0}
T5: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}

CLASSIFIERS: dict[str, Callable[[], nn.Module]] = {
    "BERT": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SIZES, **LABELS)),
    "BERT, eager attention": lambda: hf.BertForSequenceClassification(
        hf.BertConfig(**SIZES, **LABELS, attn_implementation="eager")
    ),
    "RoBERTa": lambda: hf.RobertaForSequenceClassification(hf.RobertaConfig(**SIZES, **LABELS)),
    "DeBERTa": lambda: hf.DebertaV2ForSequenceClassification(
        hf.DebertaV2Config(
            **SIZES, **LABELS, relative_attention=True, position_buckets=8, pos_att_type=["p2c", "c2p"]
        )
    ),
    "ModernBERT": lambda: hf.ModernBertForSequenceClassification(
        hf.ModernBertConfig(**SIZES, **LABELS, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
    ),
    "GPT-2": lambda: hf.GPT2ForSequenceClassification(hf.GPT2Config(**GPT2, num_labels=3)),
}  # fmt: skip
LANGUAGE_MODELS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2)),
    "GPT-2, eager attention": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2, attn_implementation="eager")),
    "Llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, num_key_value_heads=2)),
    "Gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=8)),
    "Mamba": lambda: hf.MambaForCausalLM(
        hf.MambaConfig(vocab_size=VOCABULARY, hidden_size=32, state_size=4, num_hidden_layers=2)
    ),
}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().double().eval()


def tokens(count: int = 2, length: int = 9) -> Tensor:
    return torch.randint(4, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_class_of_a_text_is_shared_among_its_tokens_and_padding_changes_nothing(name: str) -> None:
    model, ids = seeded(CLASSIFIERS[name]), tokens()
    found, sums = LRP(model).attribute(ids, return_sums=True, forward_kwargs={"attention_mask": torch.ones_like(ids)})
    assert found.shape == ids.shape
    torch.testing.assert_close(found.sum(1), sums["output"], rtol=1e-9, atol=0)
    longer = nn.functional.pad(ids, (0, 4))
    padded = LRP(model).attribute(longer, forward_kwargs={"attention_mask": (longer != 0).long()})
    assert not padded[:, 9:].any()
    torch.testing.assert_close(padded[:, :9], found, rtol=1e-6, atol=1e-10)
    of_dictionary = LRP(model).attribute({"input_ids": ids}, forward_kwargs={"attention_mask": torch.ones_like(ids)})
    assert torch.equal(of_dictionary["input_ids"], found)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_next_tokens_logit_is_shared_among_the_tokens_before(name: str) -> None:
    model, ids = seeded(LANGUAGE_MODELS[name]), tokens()
    found, sums = LRP(model).attribute(ids, NextToken(), return_sums=True)
    exact = 1e-5 if name == "Mamba" else 1e-9  # its head answers in single precision
    torch.testing.assert_close(found.sum(1).to(sums["output"].dtype), sums["output"], rtol=exact, atol=0)

    third = LRP(model).attribute(ids, NextToken(7, position=2))
    assert third[:, :3].any(1).all()
    assert not third[:, 3:].any()  # what comes later is not seen


def test_encoders_with_decoders() -> None:
    t5 = seeded(lambda: hf.T5ForConditionalGeneration(hf.T5Config(**T5, **DECODER)))
    begun = torch.tensor([[3, 5]] * 2)
    found, sums = LRP(t5).attribute({"input_ids": tokens(), "decoder_input_ids": begun}, NextToken(), return_sums=True)
    total = found["input_ids"].sum(1) + found["decoder_input_ids"].sum(1)
    torch.testing.assert_close(total, sums["output"], rtol=1e-9, atol=0)
    config = hf.WhisperConfig(
        **DECODER, vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=20,
        max_target_positions=20, num_mel_bins=8,
    )  # fmt: skip
    whisper = seeded(lambda: hf.WhisperForConditionalGeneration(config))
    spectrum = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(2)).double()
    heard, sums = LRP(whisper).attribute(
        spectrum, NextToken(), return_sums=True, forward_kwargs={"decoder_input_ids": begun}
    )
    assert heard.shape == spectrum.shape
    torch.testing.assert_close(heard.sum((1, 2)), sums["output"], rtol=1e-9, atol=0)


def test_an_image_and_a_text() -> None:
    vision = {**SIZES, "image_size": 32, "patch_size": 8, "projection_dim": 16}
    text = {**SIZES, "projection_dim": 16, "bos_token_id": 48, "eos_token_id": 49, "pad_token_id": 0}
    for left_out in ("vocab_size", "max_position_embeddings"):
        del vision[left_out]
    clip = seeded(lambda: hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)))
    images, ids = torch.rand(2, 3, 32, 32).double(), torch.cat([tokens(2, 6), torch.full((2, 1), 49)], 1)
    text_vector = clip(pixel_values=images, input_ids=ids).text_embeds[0].detach()
    alike, sums = LRP(clip).attribute(
        {"pixel_values": images},
        Key("image_embeds", Likeness(text_vector)),
        return_sums=True,
        forward_kwargs={"input_ids": ids},
    )
    cosines = clip(pixel_values=images, input_ids=ids).logits_per_image[:, 0] / clip.logit_scale.exp()
    torch.testing.assert_close(sums["output"], cosines.detach())
    torch.testing.assert_close(alike["pixel_values"].sum((1, 2, 3)), sums["output"], rtol=1e-7, atol=0)
    both, sums = LRP(clip, output="logits_per_image").attribute(
        {"pixel_values": images, "input_ids": ids}, lambda likeness: likeness * torch.eye(2), return_sums=True
    )
    total = both["pixel_values"].sum((1, 2, 3)) + both["input_ids"].sum(1)
    torch.testing.assert_close(total, sums["output"], rtol=1e-9, atol=0)
