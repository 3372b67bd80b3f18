"""YAML text → a tree that knows where each key and value stands.

Values follow YAML 1.2 (`1e-3` is a number, `on` a word), which is what people mean; PyYAML only gives the syntax.
Duplicate keys, foreign tags, aliases that multiply, and documents deeper or larger than any configuration are refused.
Nothing is known here of what the keys mean.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from services.config import hints
from services.config.values import PlainFloat, PlainInt
from services.errors import ConfigInvalid

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 5_000

Scalar = str | int | float | bool | None
Key = str | int

_CURLY = ("\u201c", "\u201d", "\u201e", "\u2018", "\u2019", "\u201a", "\u00ab", "\u00bb")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("null", "Null", "NULL", "~"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where something stands: `file:line:column`, or only a source (`--num-darks`) when `line` is 0."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, in the words of a user; sorts by place."""

    place: Position
    key: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.place), self.key, self.text) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One value of the document.

    Attributes
    ----------
    value : dict of str to Node, list of Node, or a plain value
    where : Position
        Of the value.
    key_where : Position
        Of its key; of the value in a list.
    spelled : str
        The dotted key as the document spells it.
    blank : bool
        Nothing was written: `key:` with no value.
    """

    value: "dict[str, Node] | list[Node] | Scalar"
    where: Position
    key_where: Position
    spelled: str
    blank: bool = False

    def plain(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def children(self) -> "Mapping[str, Node]":
        """Return the entries of a mapping; empty for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def descend(self, path: Sequence[Key]) -> "tuple[Node, tuple[Key, ...]]":
        """Follow `path` as far as it leads; parts that name nothing here are passed over."""
        node, walked = self, []
        for part in path:
            value = node.value
            if isinstance(value, dict) and part in value:
                node = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                node = value[part]
            else:
                continue
            walked.append(part)
        return node, tuple(walked)


def read(path: Path) -> str:
    """Return the text of a configuration file.

    Raises
    ------
    ConfigInvalid
        Missing, a folder, unreadable, too large, or not UTF-8.
    """
    try:
        if path.is_dir():
            raise ConfigInvalid(f"{path}: is a folder — allowed: a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigInvalid(f"{path}: there is no such file", advice="correct its name, or make it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigInvalid(f"{path}: cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise ConfigInvalid(f"{path}: larger than {MAX_BYTES // 1024} kB — allowed: one YAML configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        found = f"byte 0x{data[error.start]:02X}"
        raise ConfigInvalid(f"{path}:{line}:{column}: {found} is not UTF-8 — allowed: text saved as UTF-8") from None


def parse(text: str, name: str) -> tuple[Node, tuple[Problem, ...]]:
    """Return the document's tree, and one problem for each duplicate key.

    Parameters
    ----------
    text : str
    name : str
        How messages call the file.

    Raises
    ------
    ConfigInvalid
        Broken syntax, more than one document, a foreign tag, or too deep or too large.
    """
    if len(text) > MAX_BYTES:
        raise ConfigInvalid(f"{name}: larger than {MAX_BYTES // 1024} kB — allowed: one YAML configuration")
    try:
        root = _Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigInvalid(f"{_at(name, mark)}: {what}{hints.of_syntax(error, text)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise ConfigInvalid(f"{name}:{line}:{column}: character #x{error.character:04x} is not allowed") from None
    if root is None:
        here = Position(name, 1, 1)
        return Node(value={}, where=here, key_where=here, spelled="", blank=True), ()
    reader = _Reader(name)
    tree = reader.node(root, key_where=_at(name, root.start_mark), spelled="")
    return tree, tuple(reader.problems)


def from_mapping(data: Mapping[str, Any], source: str) -> Node:
    """Return the tree of plain Python values, all of them from `source`."""
    where = Position(source)

    def build(value: Any, spelled: str) -> Node:
        if isinstance(value, Mapping):
            value = {str(key): build(child, _dotted(spelled, str(key))) for key, child in value.items()}
        elif isinstance(value, list | tuple):
            value = [build(child, f"{spelled}[{index}]") for index, child in enumerate(value)]
        return Node(value=value, where=where, key_where=where, spelled=spelled)

    return build(data, "")


def with_value(tree: Node, path: Sequence[str], node: Node) -> Node:
    """Return the tree with `node` at `path`; mappings on the way are made when missing."""
    if not path:
        return node
    children = dict(tree.children())
    empty = Node(value={}, where=node.where, key_where=node.where, spelled=_dotted(tree.spelled, path[0]))
    children[path[0]] = with_value(children.get(path[0], empty), path[1:], node)
    return replace(tree, value=children, blank=False)


def resolve(text: str) -> Scalar:
    """Return the value of a plain scalar by YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return PlainInt(text)
    if _HEX.fullmatch(text):
        return PlainInt(text, 16)
    return PlainFloat(text) if _FLOAT.fullmatch(text) else text


class _Composer(yaml.SafeLoader):
    """PyYAML's composer, which would follow any depth until the stack ends, and any length for minutes."""

    _depth = 0
    _count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node within the limits of depth and number; raises `yaml.MarkedYAMLError` beyond them."""
        if self._depth > MAX_DEPTH or self._count > 2 * MAX_NODES:  # keys are nodes, too
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            deep = self._depth > MAX_DEPTH
            what = f"nested deeper than {MAX_DEPTH} levels" if deep else f"more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=mark)
        self._depth += 1
        self._count += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Reader:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._seen = 0
        self._depth = 0

    def node(self, node: yaml.Node, *, key_where: Position, spelled: str) -> Node:
        """Return a node of PyYAML as ours, with all nodes below it."""
        self._seen += 1
        where = _at(self._name, node.start_mark)
        if self._seen > MAX_NODES or self._depth > MAX_DEPTH:
            raise ConfigInvalid(f"{where}: more than {MAX_NODES} values or {MAX_DEPTH} levels, aliases counted")
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.startswith("tag:yaml.org,2002:python"):
            raise ConfigInvalid(f"{where}: tag {node.tag!r} — allowed: plain values")
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        blank = plain and node.value == ""
        if plain and node.value.startswith(_CURLY):  # YAML takes them for part of the word
            text = f"found {node.value[:60]} — allowed: straight quotation marks, ' or \", or none"
            self.problems.append(Problem(where, spelled, text))
        self._depth += 1
        value = self._value(node, spelled)
        self._depth -= 1
        return Node(value=value, where=where, key_where=key_where, spelled=spelled, blank=blank)

    def _value(self, node: yaml.Node, spelled: str) -> "dict[str, Node] | list[Node] | Scalar":
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, spelled))
        if isinstance(node, yaml.SequenceNode):
            return [
                self.node(child, key_where=_at(self._name, child.start_mark), spelled=f"{spelled}[{index}]")
                for index, child in enumerate(node.value)
            ]
        if not isinstance(node, yaml.ScalarNode) or node.style is not None:
            return str(node.value)
        return None if node.value == "" else resolve(node.value)

    def _entries(self, node: yaml.MappingNode, spelled: str) -> Iterator[tuple[str, Node]]:
        first: dict[str, Position] = {}
        for key_node, value_node in node.value:
            where = _at(self._name, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigInvalid(f"{where}: {spelled or 'document'}: a key must be a word")
            key = str(key_node.value)
            dotted = _dotted(spelled, key)
            if key == "<<":
                self.problems.append(Problem(where, dotted, "merge keys are not supported — write the keys out"))
            elif key in first:
                self.problems.append(Problem(where, dotted, f"duplicate key, first at {first[key]} — keep one of them"))
            else:
                first[key] = where
                yield key, self.node(value_node, key_where=where, spelled=dotted)


def _dotted(spelled: str, key: str) -> str:
    return f"{spelled}.{key}" if spelled else key


def _at(name: str, mark: yaml.Mark | None) -> Position:
    return Position(name) if mark is None else Position(name, mark.line + 1, mark.column + 1)
