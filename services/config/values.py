"""What a value in the YAML may be: numbers that are no booleans, words for yes and no, text that looks like a number.

A plain `5`, `007` or `1.50` reaches the models as a number that remembers its spelling, so that a filter may bear that
name. `on`, `yes`, `y` … are words; they mean true or false only where a boolean is expected.
"""

from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from calibration.keywords import ALIASES
from calibration.keywords.filters import filter_name

_YES = frozenset({"true", "on", "yes", "y"})
_NO = frozenset({"false", "off", "no", "n"})
OWN_FOLDERS = frozenset({".nightcal", "logs", "reports", "refused", "simulated"})
"""Folders below the root that nightcal itself fills."""


class PlainInt(int):
    """A whole number with the text it was written as."""

    text: str

    def __new__(cls, text: str, base: int = 10) -> "PlainInt":
        """Parse `text`."""
        number = super().__new__(cls, text, base)
        number.text = text
        return number


class PlainFloat(float):
    """A number with the text it was written as."""

    text: str

    def __new__(cls, text: str) -> "PlainFloat":
        """Parse `text`, YAML's `.inf` and `.nan` included."""
        number = super().__new__(cls, text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        number.text = text
        return number


def _flag(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in _YES | _NO:
        return value.lower() in _YES
    if not isinstance(value, bool):
        raise PydanticCustomError("not_a_flag", "neither true nor false")
    return value


def _text(value: Any) -> Any:
    return value.text if isinstance(value, PlainInt | PlainFloat) else value


def _folder(value: Any) -> Any:
    """Pass a folder below the root that is not one of our own."""
    text = _text(value)
    if not isinstance(text, str):
        return text
    windows = PureWindowsPath(text)
    absolute = windows.drive or windows.root or PurePosixPath(text).is_absolute()
    parts = [part for part in windows.parts if part != "."]
    if absolute or not parts or ".." in parts or parts[0].lower() in OWN_FOLDERS:
        allowed = f"a folder below the root, none of {', '.join(sorted(OWN_FOLDERS))}"
        raise PydanticCustomError("not_a_folder", "not a folder of its own", {"allowed": allowed})
    return text


def _alias(value: Any) -> Any:
    if not isinstance(value, str) or value not in ALIASES:
        raise PydanticCustomError("no_field", "no fact of a frame", {"allowed": ", ".join(ALIASES)})
    return value


class _OneOrMany:
    """Let a single value stand for a list of one."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._listed, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core)
        return {"anyOf": [many["items"], many]}

    @staticmethod
    def _listed(value: Any) -> Any:
        if isinstance(value, str) and "," in value and any(map(str.isalpha, value)):  # names, not a decimal comma
            raise PydanticCustomError("bare_list", "a list", {"allowed": f"a list in brackets: [{value.strip()}]"})
        return value if value is None or isinstance(value, list | tuple | dict) else (value,)


OneOrMany = _OneOrMany()
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Text = Annotated[str, Field(min_length=1), BeforeValidator(_text)]
Setting = Annotated[Whole | Text, Field(union_mode="left_to_right")]
"""A setting of a camera: its number, or its name in the camera's list; what is written as a number is one."""
FilterName = Annotated[Text, AfterValidator(lambda written: filter_name(written) or written)]
"""A filter, called as frames of it are: `Hα` is `Ha`."""
Folder = Annotated[str, Field(min_length=1), BeforeValidator(_folder)]
Darkness = Annotated[
    str,
    Field(
        pattern=r"^(cover|shutter|roof|manual|none|filter:.+)$",
        json_schema_extra={"x-allowed": "cover, shutter, roof, manual, none or filter:NAME"},
    ),
    BeforeValidator(_text),
    AfterValidator(lambda written: filter_name(written) or written),
]
Address = Annotated[
    str,
    Field(
        pattern=r"^https?://\S+$", json_schema_extra={"x-allowed": "an address that begins with http:// or https://"}
    ),
]
HeaderAliases = Annotated[
    dict[Text, Annotated[str, BeforeValidator(_alias)]],
    Field(json_schema_extra={"x-allowed": f"a keyword, a colon, and one of {', '.join(ALIASES)}"}),
]
"""Keywords of other programs by what they stand for."""

Seconds = Annotated[Real, Field(ge=0)]
Days = Annotated[Real, Field(ge=0)]
Positive = Annotated[Real, Field(gt=0)]
Fraction = Annotated[Real, Field(gt=0, lt=1)]
Celsius = Annotated[Real, Field(ge=-100, le=60)]
Port = Annotated[Whole, Field(ge=1, le=65535)]
Factor = Annotated[Whole, Field(ge=1, le=64)]
Binning = Factor | tuple[Factor, Factor]


def number_of(setting: int | str | None) -> int | None:
    """Return the number of a setting; None for a name as well, whose number the connected camera alone knows."""
    return setting if isinstance(setting, int) else None
