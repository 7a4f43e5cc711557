"""Networks of the transformers library, from small configurations: texts, sounds, images."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from _zoo.case import Case, Family
from _zoo.vision import PREDICTED, pictures
from relsplit.targets import Key, NextToken, Pixels, Value

VOCABULARY, WIDTH, HEADS, LAYERS, TOKENS, LABELS = 1000, 256, 4, 4, 64, 5
LABELLED: dict[str, Any] = {"num_labels": LABELS}
NEXT = "logit of the next token"
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH, "max_position_embeddings": 2 * TOKENS + 2,
}  # fmt: skip
SPECIAL: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SHARED: dict[str, Any] = {**SIZES, **SPECIAL}
GPT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": TOKENS, **SPECIAL
}  # fmt: skip
BOTH: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": 4 * WIDTH,
    "decoder_ffn_dim": 4 * WIDTH, **SPECIAL, "decoder_start_token_id": 3,
}  # fmt: skip
SOUND: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "intermediate_size": 4 * WIDTH, "num_labels": LABELS,
}  # fmt: skip
IMAGE: dict[str, Any] = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * WIDTH,
    "image_size": 96, "patch_size": 16, "num_labels": LABELS,
}  # fmt: skip


def words(length: int = TOKENS) -> Tensor:
    """Random token ids, none of them special."""
    return torch.randint(4, VOCABULARY - 2, (1, length), generator=torch.Generator().manual_seed(1))


def noise(*shape: int) -> Tensor:
    """A random signal."""
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))


Make = Callable[[], nn.Module]


def _classifier(name: str, **options: Any) -> Make:
    """A classifier of texts by its name in the library."""
    make, configuration = getattr(hf, f"{name}ForSequenceClassification"), getattr(hf, f"{name}Config")
    return lambda: make(configuration(**{**SHARED, "num_labels": LABELS, **options}))


def _language_model(name: str, **options: Any) -> Make:
    make, configuration = getattr(hf, f"{name}ForCausalLM"), getattr(hf, f"{name}Config")
    return lambda: make(configuration(**{**SHARED, **options}))


ENCODERS: dict[str, Make] = {
    "BERT": _classifier("Bert"),
    "RoBERTa": _classifier("Roberta"),
    "XLM-RoBERTa": _classifier("XLMRoberta"),
    "CamemBERT": _classifier("Camembert"),
    "ALBERT": _classifier("Albert", embedding_size=64),
    "DistilBERT": lambda: hf.DistilBertForSequenceClassification(
        hf.DistilBertConfig(
            vocab_size=VOCABULARY, dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=4 * WIDTH, **LABELLED
        )
    ),
    "ELECTRA": _classifier("Electra", embedding_size=64),
    "DeBERTa": _classifier("Deberta", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "DeBERTa v2": _classifier("DebertaV2", relative_attention=True, position_buckets=32, pos_att_type=["p2c", "c2p"]),
    "ModernBERT": _classifier("ModernBert", cls_token_id=1, sep_token_id=2),
    "MPNet": _classifier("MPNet"),
    "ERNIE": _classifier("Ernie"),
    "RoFormer": _classifier("RoFormer", embedding_size=WIDTH),
    "ConvBERT": _classifier("ConvBert", embedding_size=WIDTH),
    "SqueezeBERT": _classifier("SqueezeBert", embedding_size=WIDTH),
    "MobileBERT": _classifier("MobileBert", embedding_size=64, intra_bottleneck_size=64),
    "Longformer": _classifier("Longformer", attention_window=16),
    "BigBird": _classifier("BigBird", attention_type="original_full"),
    "Nyströmformer": _classifier("Nystromformer"),
    "XLNet": lambda: hf.XLNetForSequenceClassification(
        hf.XLNetConfig(
            vocab_size=VOCABULARY, d_model=WIDTH, n_layer=LAYERS, n_head=HEADS, d_inner=4 * WIDTH, **LABELLED
        )
    ),
    "Perceiver": lambda: hf.PerceiverForSequenceClassification(
        hf.PerceiverConfig(
            num_latents=32, d_latents=WIDTH, d_model=WIDTH, num_blocks=1, num_self_attends_per_block=LAYERS,
            num_self_attention_heads=HEADS, num_cross_attention_heads=HEADS, vocab_size=VOCABULARY,
            max_position_embeddings=TOKENS, **LABELLED,
        )
    ),
    "FNet": _classifier("FNet"),
}  # fmt: skip

_GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
_OF_EXPERTS = (
    'Mixtures of experts are listed as they run by default: with `experts_implementation="eager"`, a loop '
    "that adds one expert to another, relevance is split at each addition, while the kernels' results are "
    "summed by one operation, which has the z+ rule, so that the two maps (both conserve, gap 2e-7 at most) differ by "
    "2e-4 of their greatest entry on a Mixtral of random weights, in float64, too."
)
_EXPERTS: dict[str, Any] = {**_GROUPED, "num_experts_per_tok": 2}
LANGUAGE_MODELS: dict[str, Make] = {
    "GPT-2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT)),
    "GPT-Neo": lambda: hf.GPTNeoForCausalLM(
        hf.GPTNeoConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, num_layers=LAYERS, num_heads=HEADS, window_size=16,
            attention_types=[[["global", "local"], LAYERS // 2]], max_position_embeddings=TOKENS, **SPECIAL,
        )
    ),
    "GPT-J": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**GPT, rotary_dim=32)),
    "GPT-NeoX": _language_model("GPTNeoX"),
    "OPT": lambda: hf.OPTForCausalLM(hf.OPTConfig(**SHARED, ffn_dim=4 * WIDTH, word_embed_proj_dim=WIDTH)),
    "BLOOM": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, **SPECIAL)
    ),
    "Falcon": _language_model("Falcon"),
    "Llama": _language_model("Llama", **_GROUPED),
    "Mistral": _language_model("Mistral", **_GROUPED, sliding_window=16),
    "Qwen2": _language_model("Qwen2", **_GROUPED),
    "Qwen3": _language_model("Qwen3", **_GROUPED, head_dim=64),
    "Gemma": _language_model("Gemma", num_key_value_heads=1, head_dim=64),
    "Gemma 2": _language_model("Gemma2", num_key_value_heads=1, head_dim=64),
    "Gemma 3": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(**SHARED, num_key_value_heads=1, head_dim=64, sliding_window=16)
    ),
    "Phi": _language_model("Phi"),
    "Phi-3": _language_model("Phi3", **_GROUPED),
    "StableLM": _language_model("StableLm", **_GROUPED),
    "OLMo 2": _language_model("Olmo2", **_GROUPED),
    "Granite": _language_model("Granite", **_GROUPED),
    "Cohere": _language_model("Cohere", **_GROUPED),
    "Mixtral": _language_model("Mixtral", **_EXPERTS, num_local_experts=4),
    "Qwen2-MoE": _language_model(
        "Qwen2Moe", **_EXPERTS, num_experts=4, moe_intermediate_size=WIDTH, shared_expert_intermediate_size=WIDTH
    ),
    "DeepSeek-V3": _language_model(
        "DeepseekV3", num_key_value_heads=HEADS, num_experts_per_tok=2, moe_intermediate_size=WIDTH,
        n_routed_experts=4, n_shared_experts=1, n_group=1, topk_group=1, kv_lora_rank=64, q_lora_rank=64,
        qk_rope_head_dim=32, qk_nope_head_dim=32, v_head_dim=64, first_k_dense_replace=1,
    ),
    "GPT-OSS": _language_model("GptOss", **_EXPERTS, head_dim=64, num_local_experts=4, sliding_window=16),
    "Mamba": lambda: hf.MambaForCausalLM(
        hf.MambaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, state_size=16, num_hidden_layers=2, **SPECIAL)
    ),
    "Falcon Mamba": lambda: hf.FalconMambaForCausalLM(
        hf.FalconMambaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, state_size=16, num_hidden_layers=2, **SPECIAL)
    ),
    "Mamba-2": lambda: hf.Mamba2ForCausalLM(
        hf.Mamba2Config(
            vocab_size=VOCABULARY, hidden_size=WIDTH, state_size=16, num_hidden_layers=2, num_heads=8, head_dim=64,
            n_groups=1, chunk_size=16, **SPECIAL,
        )
    ),
    "RecurrentGemma": lambda: hf.RecurrentGemmaForCausalLM(
        hf.RecurrentGemmaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=3, num_attention_heads=HEADS,
            intermediate_size=4 * WIDTH, lru_width=WIDTH, attention_window_size=16, **SPECIAL,
        )
    ),
    "RWKV": lambda: hf.RwkvForCausalLM(
        hf.RwkvConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2, attention_hidden_size=WIDTH,
            intermediate_size=4 * WIDTH, context_length=TOKENS, **SPECIAL,
        )
    ),
}  # fmt: skip

Spoken = tuple[Make, Tensor | Mapping[str, Tensor], Mapping[str, Any], str, Any]
"""How it is made, what it is given, what it gets besides, what is explained in words, the target."""


def _translated(make: Make) -> Spoken:
    given = {"input_ids": words(), "decoder_input_ids": torch.tensor([[3, 5, 8, 13]])}
    return make, given, {}, NEXT, NextToken()


_T5: dict[str, Any] = {
    "vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 64, "d_ff": 4 * WIDTH, "num_layers": LAYERS,
    "num_heads": HEADS, "decoder_start_token_id": 3, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
SEQUENCES: dict[str, Spoken] = {
    "T5": _translated(lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5))),
    "Flan-T5": _translated(lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5, feed_forward_proj="gated-gelu"))),
    "BART": _translated(
        lambda: hf.BartForConditionalGeneration(hf.BartConfig(**BOTH, max_position_embeddings=TOKENS))
    ),
    "Marian": _translated(lambda: hf.MarianMTModel(hf.MarianConfig(**BOTH, max_position_embeddings=TOKENS))),
    "Whisper": (
        lambda: hf.WhisperForConditionalGeneration(
            hf.WhisperConfig(**BOTH, max_source_positions=50, max_target_positions=20, num_mel_bins=80)
        ),
        noise(80, 100),
        {"decoder_input_ids": torch.tensor([[3, 5, 8, 13]])},
        NEXT,
        NextToken(),
    ),
    "Wav2Vec2": (
        lambda: hf.Wav2Vec2ForSequenceClassification(hf.Wav2Vec2Config(**SOUND)), noise(8000), {}, PREDICTED, None
    ),
    "HuBERT": (lambda: hf.HubertForSequenceClassification(hf.HubertConfig(**SOUND)), noise(8000), {}, PREDICTED, None),
    "AST": (
        lambda: hf.ASTForAudioClassification(hf.ASTConfig(**SOUND, max_length=128, num_mel_bins=128)),
        noise(128, 128),
        {},
        PREDICTED,
        None,
    ),
    "PatchTST": (
        lambda: hf.PatchTSTForClassification(
            hf.PatchTSTConfig(
                num_input_channels=4, num_targets=LABELS, context_length=256, patch_length=16, patch_stride=16,
                d_model=128, num_hidden_layers=3, num_attention_heads=HEADS, ffn_dim=512, use_cls_token=True,
            )
        ),
        noise(256, 4),
        {},
        PREDICTED,
        None,
    ),
}  # fmt: skip


def _seen(make: Make, size: int = 96) -> Spoken:
    return make, pictures(3, size, size), {}, PREDICTED, None


def _image_classifier(name: str) -> Spoken:
    make, configuration = getattr(hf, f"{name}ForImageClassification"), getattr(hf, f"{name}Config")
    return _seen(lambda: make(configuration(**IMAGE)))


_TOWER: dict[str, Any] = {name: IMAGE[name] for name in IMAGE if name != "num_labels"}
_CAPTION: dict[str, Any] = {
    **SIZES, "bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "pad_token_id": 0
}  # fmt: skip
_PAIR = {"pixel_values": pictures(3, 96, 96), "input_ids": torch.cat([words(15), torch.tensor([[VOCABULARY - 1]])], 1)}
_ALIKE = "likeness of image and text", Key("logits_per_image", Value(0))
IMAGES: dict[str, Spoken] = {
    **{name: _image_classifier(name) for name in ("ViT", "DeiT", "Dinov2", "Beit", "ViTMSN", "IJepa")},
    "Swin": _seen(
        lambda: hf.SwinForImageClassification(
            hf.SwinConfig(
                image_size=64, patch_size=4, embed_dim=64, depths=[2, 2, 2], num_heads=[2, 4, 8], window_size=4,
                **LABELLED,
            )
        ),
        64,
    ),
    "SegFormer": (
        lambda: hf.SegformerForSemanticSegmentation(
            hf.SegformerConfig(
                depths=[1, 1, 1, 1], hidden_sizes=[32, 64, 128, 256], decoder_hidden_size=128, **LABELLED
            )
        ),
        pictures(3, 128, 128),
        {},
        "a class at one pixel",
        Pixels(0, at=(16, 16)),
    ),
    "YOLOS": (
        lambda: hf.YolosForObjectDetection(
            hf.YolosConfig(**{**IMAGE, "image_size": [96, 96]}, num_detection_tokens=10)
        ),
        pictures(3, 96, 96),
        {},
        "a class's logit of one box",
        Key("logits", Value((2, 1))),
    ),
    "CLIP": (
        lambda: hf.CLIPModel(
            hf.CLIPConfig(
                text_config={**_CAPTION, "projection_dim": 128}, vision_config={**_TOWER, "projection_dim": 128},
                projection_dim=128,
            )
        ),
        _PAIR,
        {},
        *_ALIKE,
    ),
    "SigLIP": (
        lambda: hf.SiglipModel(hf.SiglipConfig(text_config=_CAPTION, vision_config=_TOWER)), _PAIR, {}, *_ALIKE
    ),
    "VideoMAE": (
        lambda: hf.VideoMAEForVideoClassification(hf.VideoMAEConfig(**IMAGE, num_frames=4, tubelet_size=2)),
        pictures(4, 3, 96, 96),
        {},
        PREDICTED,
        None,
    ),
    "TimeSformer": (
        lambda: hf.TimesformerForVideoClassification(hf.TimesformerConfig(**IMAGE, num_frames=4)),
        pictures(4, 3, 96, 96),
        {},
        PREDICTED,
        None,
    ),
}  # fmt: skip


def _text(name: str) -> Iterator[Case]:
    yield Case(_made(ENCODERS[name]), words(), PREDICTED)


def _said(name: str) -> Iterator[Case]:
    yield Case(_made(LANGUAGE_MODELS[name]), words(), NEXT, NextToken())


def _spoken(table: Mapping[str, Spoken]) -> Callable[[str], Iterator[Case]]:
    def cases(name: str) -> Iterator[Case]:
        make, given, besides, explained, target = table[name]
        yield Case(_made(make), given, explained, target, forward_kwargs=besides)

    return cases


def _made(make: Make) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


PACKAGES = ("torch", "transformers")
_SIZE = f"width {WIDTH}, {LAYERS} layers"
FAMILIES = {
    "encoders": Family(
        "transformers: text classifiers",
        f"From small configurations ({_SIZE}); relevance is of the {TOKENS} tokens.",
        list(ENCODERS),
        _text,
        PACKAGES,
    ),
    "language": Family(
        "transformers: language models",
        f"From small configurations ({_SIZE}); the target is `NextToken()`. State-space and recurrent ones have 2 or 3 "
        f"layers, and run their plain path, a loop over the tokens.\n\n{_OF_EXPERTS}",
        list(LANGUAGE_MODELS),
        _said,
        PACKAGES,
    ),
    "sequences": Family(
        "transformers: encoders with decoders, sounds, series",
        f"From small configurations ({_SIZE}). What a decoder has said already is an input like the text, or is handed "
        "on with `forward_kwargs=`.",
        list(SEQUENCES),
        _spoken(SEQUENCES),
        PACKAGES,
    ),
    "pictures": Family(
        "transformers: images, videos, images and texts",
        f"From small configurations ({_SIZE}).",
        list(IMAGES),
        _spoken(IMAGES),
        PACKAGES,
    ),
}
