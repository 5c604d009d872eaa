"""Small pipelines of diffusers' own classes with random weights, for tests to save and to compare with."""

from __future__ import annotations

import string
from typing import Any

import diffusers
import torch
import transformers

WORDS = ("a", "dog", "barks", "rain", "falls", "loud")
CLAP_WIDTH = 8


def audioldm2() -> diffusers.AudioLDM2Pipeline:
    """AudioLDM 2: latents (4, 32, 4), 0.016 s; GPT2Model, as the published model_index.json names it."""
    return diffusers.AudioLDM2Pipeline(
        unet=diffusers.AudioLDM2UNet2DConditionModel(
            sample_size=32,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=2,
            cross_attention_dim=[[None, 16, 32]] * 2,
        ),
        projection_model=diffusers.AudioLDM2ProjectionModel(CLAP_WIDTH, 32, 16),
        language_model=transformers.GPT2Model(
            transformers.GPT2Config(n_embd=16, n_head=2, n_layer=2, n_positions=160, vocab_size=50, max_new_tokens=8)
        ),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        **_clap_and_sound(),
    )


def musicldm() -> diffusers.MusicLDMPipeline:
    """MusicLDM: the same latents."""
    return diffusers.MusicLDMPipeline(unet=_unet_of_classes(), **_clap_and_sound())


def audioldm() -> diffusers.AudioLDMPipeline:
    """AudioLDM: the same latents, CLAP's text half alone."""
    parts = _clap_and_sound()
    del parts["feature_extractor"]
    config = parts["text_encoder"].config.text_config
    return diffusers.AudioLDMPipeline(
        unet=_unet_of_classes(),
        **parts | {"text_encoder": transformers.ClapTextModelWithProjection(config)},
    )


def stable_audio(scheduler: Any = None) -> diffusers.StableAudioPipeline:
    """Stable Audio: latents (4, 16), 0.5 s of stereo at 256 Hz, up to 32 s told."""
    return diffusers.StableAudioPipeline(
        transformer=diffusers.StableAudioDiTModel(
            sample_size=16,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_attention_heads=2,
            out_channels=4,
            cross_attention_dim=16,
            time_proj_dim=8,
            global_states_input_dim=32,
            cross_attention_input_dim=16,
        ),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        projection_model=diffusers.StableAudioProjectionModel(32, 16, 0, 32),
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[2, 4],
            channel_multiples=[2, 4],
            decoder_channels=3,
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=256,
        ),
        scheduler=scheduler
        or diffusers.EDMDPMSolverMultistepScheduler(
            solver_order=2, prediction_type="v_prediction", sigma_data=1.0, algorithm_type="sde-dpmsolver++"
        ),
    )


def stable_audio_3(*, distilled: bool = True) -> diffusers.StableAudio3Pipeline:
    """Stable Audio 3: latents (4, n) at 32 a second, 256 Hz stereo, up to 384 s."""
    text = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1, "sliding_window": 64}
    text |= {"layer_types": ["full_attention"] * 2}
    return diffusers.StableAudio3Pipeline(
        transformer=diffusers.StableAudio3DiTModel(
            io_channels=4,
            embed_dim=16,
            depth=2,
            num_heads=2,
            cond_token_dim=16,
            global_cond_dim=16,
            local_add_cond_dim=5,
            timestep_features_dim=8,
            num_memory_tokens=3,
        ),
        text_encoder=transformers.T5GemmaEncoderModel(
            transformers.T5GemmaConfig(encoder=text, decoder=text, is_encoder_decoder=False)
        ),
        tokenizer=t5_tokenizer(),
        duration_embedder=diffusers.StableAudio3DurationEmbedder(output_dim=16, fourier_dim=8),
        vae=diffusers.AutoencoderSAME(
            patch_size=4,
            encoder_channels=8,
            encoder_c_mults=(2,),
            encoder_strides=(2,),
            encoder_transformer_depths=(1,),
            latent_dim=4,
            dim_heads=8,
            sampling_rate=256,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, stochastic_sampling=distilled),
    )


def ace_step(*, turbo: bool = False) -> diffusers.AceStepPipeline:
    """ACE-Step: latents (n, 4) at 25 a second, 200 Hz stereo."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    return diffusers.AceStepPipeline(
        transformer=diffusers.AceStepTransformer1DModel(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            in_channels=12,
            audio_acoustic_hidden_dim=4,
            sliding_window=8,
            is_turbo=turbo,
            **heads,
        ),
        text_encoder=transformers.Qwen3Model(
            transformers.Qwen3Config(
                vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, initializer_range=0.2, **heads
            )
        ),
        tokenizer=t5_tokenizer(),
        condition_encoder=diffusers.AceStepConditionEncoder(
            hidden_size=16,
            intermediate_size=32,
            text_hidden_dim=16,
            timbre_hidden_dim=4,
            num_lyric_encoder_hidden_layers=2,
            num_timbre_encoder_hidden_layers=1,
            sliding_window=8,
            **heads,
        ),
        vae=diffusers.AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[2, 4],
            channel_multiples=[2, 4],
            decoder_channels=3,
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=200,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


def longcat_audiodit() -> diffusers.LongCatAudioDiTPipeline:
    """LongCat-AudioDiT: latents (n, 4) at 25 a second, 200 Hz."""
    text = {"vocab_size": 64, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return diffusers.LongCatAudioDiTPipeline(
        transformer=diffusers.LongCatAudioDiTTransformer(
            dit_dim=16, dit_depth=2, dit_heads=2, dit_text_dim=16, latent_dim=4
        ),
        text_encoder=transformers.UMT5EncoderModel(transformers.UMT5Config(**text)),
        tokenizer=t5_tokenizer(),
        vae=diffusers.LongCatAudioDiTVae(
            channels=4,
            c_mults=[1, 2],
            strides=[2, 4],
            latent_dim=4,
            encoder_latent_dim=8,
            downsampling_ratio=8,
            sample_rate=200,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, invert_sigmas=True),
    )


def with_language_model_head(pipeline: diffusers.AudioLDM2Pipeline) -> diffusers.AudioLDM2Pipeline:
    """The same pipeline over GPT2LMHeadModel, without which its own `__call__` fails with transformers 5."""
    headed = transformers.GPT2LMHeadModel(pipeline.language_model.config)
    headed.transformer.load_state_dict(pipeline.language_model.state_dict())
    return type(pipeline)(**pipeline.components | {"language_model": headed.eval()})


def t5() -> transformers.T5EncoderModel:
    """An encoder 32 wide, whose weights are large enough for captions to differ."""
    config = transformers.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return transformers.T5EncoderModel(config)


def t5_tokenizer() -> transformers.T5Tokenizer:
    """A few words and all letters; 16 tokens at most."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(f"▁{word}", -1.0) for word in WORDS] + [(letter, -5.0) for letter in string.ascii_lowercase]
    return transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=16)


def _unet_of_classes() -> diffusers.UNet2DConditionModel:
    """A U-Net that takes CLAP's vector in the place of a class."""
    return diffusers.UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        cross_attention_dim=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=2,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=CLAP_WIDTH,
        class_embeddings_concat=True,
    )


def _clap_and_sound() -> dict[str, Any]:
    """What AudioLDM 2 and MusicLDM share: CLAP, its tokenizer, autoencoder, vocoder, scheduler."""
    text = {"vocab_size": 64, "hidden_size": 8, "intermediate_size": 37, "num_hidden_layers": 1}
    audio = {"spec_size": 8, "window_size": 4, "num_mel_bins": 8, "depths": [1, 1], "num_hidden_layers": 2}
    audio |= {"num_attention_heads": [1, 1], "hidden_size": 192, "patch_size": 2, "patch_stride": 2}
    letters = {letter: 5 + number for number, letter in enumerate(string.ascii_lowercase + "Ġ")}
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    return {
        "text_encoder": transformers.ClapModel(
            transformers.ClapConfig(
                text_config=text | {"num_attention_heads": 1, "projection_dim": CLAP_WIDTH},
                audio_config=audio | {"patch_embed_input_channels": 4, "projection_dim": CLAP_WIDTH},
                projection_dim=CLAP_WIDTH,
            )
        ),
        "tokenizer": transformers.RobertaTokenizer(vocab=special | letters, merges=[], model_max_length=40),
        "feature_extractor": transformers.ClapFeatureExtractor(),
        "vae": diffusers.AutoencoderKL(
            in_channels=1,
            out_channels=1,
            latent_channels=4,
            block_out_channels=(8, 16),
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            scaling_factor=0.5,
        ),
        "vocoder": transformers.SpeechT5HifiGan(
            transformers.SpeechT5HifiGanConfig(
                model_in_dim=8,
                sampling_rate=16_000,
                upsample_initial_channel=16,
                upsample_rates=[2, 2],
                upsample_kernel_sizes=[4, 4],
                resblock_kernel_sizes=[3, 7],
                resblock_dilation_sizes=[[1, 3, 5], [1, 3, 5]],
                normalize_before=False,
            )
        ),
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.0015,
            beta_end=0.0195,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
    }


@torch.no_grad()
def _fill_zeros(module: torch.nn.Module) -> None:
    """Gives what is made of zeros, so that nothing of it is seen before training, numbers."""
    for tensor in [*module.parameters(), *(value for name, value in module.named_buffers() if "silence" in name)]:
        if not tensor.any():
            tensor.normal_(std=0.2)


def seeded(make: Any, **options: Any) -> Any:
    """A pipeline with the same weights each time, ready to be called."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        pipeline = make(**options)
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                _fill_zeros(component.eval())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
