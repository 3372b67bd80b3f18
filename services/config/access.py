"""Who asks a server that wants a password: the file names where the secrets are, and never holds them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.config.values import Text

Variable = Annotated[
    Text,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", json_schema_extra={"x-allowed": "the name of an environment variable"}),
]
NOT_USED = "accepted from the guide's program, not used here"
"""Description of single keys that are accepted and not used."""
SECRETS = ("user_env", "password_env", "password_file", "token_env", "token_file", "url_env")
"""Keys whose values no message shows: somebody may have written the secret itself."""


class Section(BaseModel):
    """Base of all sections: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Access(Section):
    """The part that the sections of devices share: user and password of a server that asks for them (HTTP Basic)."""

    user_env: Variable | None = Field(None, description="environment variable that holds the user name")
    password_env: Variable | None = Field(None, description="environment variable that holds the password")
    password_file: Text | None = Field(None, description="or the file that holds it alone, readable by you only")

    @property
    def asks_nothing(self) -> bool:
        """Whether no user and no password are named."""
        return self.user_env is None and self.password_env is None and self.password_file is None
