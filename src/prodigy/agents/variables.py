"""Which of the user's variables agent programs read. A text is a name, or the beginning of names: `PREFIX_*`."""

from __future__ import annotations

from collections.abc import Mapping

from prodigy.agents.base import Agent

# Keys and addresses of the providers of models that OpenCode and Aider can use.
PROVIDERS = (
    "ANTHROPIC_*", "OPENAI_*", "OPENROUTER_*", "GEMINI_*", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY",
    "AZURE_API_*", "AZURE_OPENAI_*", "AZURE_RESOURCE_NAME", "AWS_BEARER_TOKEN_BEDROCK", "AI_GATEWAY_API_KEY",
    "CEREBRAS_API_KEY", "COHERE_API_KEY", "DASHSCOPE_API_KEY", "DEEPINFRA_API_KEY", "DEEPSEEK_API_*",
    "FIREWORKS_API_KEY",
    "FIREWORKS_AI_API_KEY", "GROQ_API_*", "HF_TOKEN", "HUGGINGFACE_API_KEY", "LM_STUDIO_*", "MINIMAX_API_KEY",
    "MISTRAL_API_KEY", "MOONSHOT_API_KEY", "NVIDIA_API_KEY", "OLLAMA_*", "PERPLEXITY_API_KEY", "REQUESTY_API_KEY",
    "TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "XAI_API_*", "ZAI_API_KEY", "ZHIPU_API_KEY",
)  # fmt: skip
_OFF = ("", "0", "false", "no", "off")


def is_on(environment: Mapping[str, str], name: str) -> bool:
    """Whether a variable switches something on."""
    return environment.get(name, "").strip().lower() not in _OFF


def read_by(adapter: Agent, environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the program reads, in this environment; nothing for an adapter that does not say it."""
    says = getattr(adapter, "variables", None)
    return tuple(says(environment)) if says is not None else ()
