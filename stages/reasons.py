"""What a library says is wrong, in a form that fits into a sentence of ours."""

FRAMING = ("Exception encountered when calling",)
"""How the first lines of errors begin that say nothing."""


def reason(error: BaseException) -> str:
    """What a library says is wrong, without the pages that follow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(FRAMING)]
    text = next(iter(telling or lines), type(error).__name__)
    return text if len(text) <= 200 else f"{text[:197]}..."
