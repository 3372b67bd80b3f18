"""Letters outside ASCII in headers, which hold ASCII only: written as Latin ones or as their code, and read back."""

import re

_GREEK = {"α": "a", "β": "b", "γ": "g", "δ": "d", "μ": "u", "µ": "u", "°": "deg"}
_PART_OF_A_CODE = re.compile(r"\\(?:u[0-9a-f]{0,3}|U[0-9a-f]{0,7})?$")
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})")


def ascii_text(value: str) -> str:
    """Return text that a card can hold: printable ASCII, at most 68 characters with quotes counted twice.

    Greek letters of spectral lines become Latin ones (Ha, Hb); any other letter outside ASCII becomes its code, from
    which `unescaped` has it back: different texts stay different.
    """
    return escaped_text("".join(_GREEK.get(c, c) for c in value))


def escaped_text(value: str, longest: int = 68) -> str:
    """Return text as `ascii_text` does, but with a code for Greek letters, too: `unescaped` has it back.

    More characters than the 68 of one card, `longest`, go on in cards below it.
    """
    written = "".join(c if " " <= c <= "~" else " " if c.isspace() else _escape(c) for c in value)
    return shortened(written.strip(), longest)


def shortened(written: str, longest: int) -> str:
    """Return the beginning of ASCII text, of so many characters with quotes counted twice, and no part of a code."""
    cut = written[:longest]
    while len(cut) + cut.count("'") > longest:
        cut = cut[:-1]
    return (cut if cut == written else _PART_OF_A_CODE.sub("", cut)).rstrip()


def _escape(character: str) -> str:
    code = ord(character)
    return "?" if code < 32 or code == 127 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"


def unescaped(written: str) -> str:
    """Return text with the letters that stand there as their code."""
    return _ESCAPED.sub(_letter, written)


def _letter(match: re.Match[str]) -> str:
    code = int(match[1] or match[2], 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]
