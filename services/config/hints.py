"""What was probably meant: the usual slips of people who write YAML by hand, in words that end an error message."""

import difflib
import re
from collections.abc import Sequence

import yaml

_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)"
_SLIPS = (
    (re.compile(r"[-+]?\d+,\d+"), "number", "a decimal point, not a comma"),
    (re.compile(rf"{_NUMBER}(\s*[,;]\s*{_NUMBER})+"), "list", "a list stands in brackets: [a, b]"),
    (re.compile(rf"\u2212\s*{_NUMBER}"), "number", "a plain minus sign: -"),
    (re.compile(rf"{_NUMBER}\s*%"), "number", "a fraction such as 0.5, not per cent"),
    (re.compile(rf"{_NUMBER}\s*°?\s*[A-Za-zµ]+"), "number", "the number alone, without its unit"),
    (re.compile(_NUMBER), "number", "a number stands without quotes"),
    (re.compile(r"\w+\s*[=:].*", re.DOTALL), "section", "a key is followed by a colon and a space"),
)
"""What a text looks like, a word of what is allowed in its place, and the advice."""
_SECRETS = frozenset(
    {"password", "passwd", "pass", "passphrase", "pwd", "secret", "token", "user", "username", "login"}
)
_OUTSIDE = (
    "user and password do not belong in this file, which others read — allowed: user_env and password_env, the names "
    "of environment variables that hold them, or password_file, a file that holds the password alone"
)
_OUTSIDE_SERVE = (
    "tokens and addresses to be called do not belong in this file, which others read — allowed: token_env or url_env, "
    "the name of an environment variable that holds it, or token_file, a file that holds the token alone"
)
_ALIKE = "keys of one section begin in the same column: compare with the lines above"
_DRIVER = (
    "a camera of another make is reached through its ASCOM driver: `ascom` with the host and port of ASCOM Remote, "
    "or `alpaca` where it has an Alpaca server"
)


def of_value(path: Sequence[str | int], found: object, allowed: str) -> str:
    """Return a hint for a value that is not allowed, in parentheses and with a leading space; "" when there is none."""
    if not isinstance(found, str):
        return ""
    words = re.findall(r"[\w.]+", allowed)
    close = difflib.get_close_matches(found.strip().casefold(), words, n=1, cutoff=0.75)
    if close and close[0] != found:
        return f" (did you mean `{close[0]}`?)"
    if tuple(path) == ("camera", "camera_type"):
        return f" ({_DRIVER})"
    advice = (text for looks, kind, text in _SLIPS if kind in allowed and looks.fullmatch(found.strip()))
    return next((f" ({text})" for text in advice), "")


def of_secret(path: Sequence[str | int]) -> str:
    """Return what is said of a key for a user or a password that would stand in the file itself; "" for other keys."""
    if path[0] == "serve" and str(path[-1]).casefold() in _SECRETS | {"url"}:
        return _OUTSIDE_SERVE
    return _OUTSIDE if str(path[-1]).casefold() in _SECRETS else ""


def of_syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return a hint for text that is no YAML, in parentheses and with a leading space; "" when there is none."""
    what = f"{error.context or ''} {error.problem or ''}"
    advice = next((advice for sign, advice in _SYNTAX if sign in what), "")
    if "mapping values are not allowed" in what and error.problem_mark is not None:
        above = text.splitlines()[: error.problem_mark.line]
        before = next((line for line in reversed(above) if line.strip()), "")
        bare = bool(before) and ":" not in before
        advice = "is a colon missing at the end of the line above?" if bare else _ALIKE
    if "quoted scalar" in what and "end of stream" in what and error.context_mark is not None:
        advice = f"the quotation mark of line {error.context_mark.line + 1} is not closed"
    return f" ({advice})" if advice else ""


_SYNTAX = (
    ("'\\t'", "a tab: indent with spaces"),
    ("expected <block end>", _ALIKE),
    ("expected '<document start>'", "is a colon missing behind the name of a section?"),
    ("expected ',' or ']'", "a bracket [ is not closed"),
    ("expected ',' or '}'", "a brace { is not closed"),
    ("while scanning an alias", 'a value that begins with * stands in "quotation marks", such as "*/30 * * * *"'),
    ("unknown escape character", "a path with \\ stands in 'single quotes', or with / instead"),
)
"""A sign in PyYAML's words, and the advice."""
