"""A URL of somebody else's configuration as one of ours: credentials out of it, references in their place.

Called by `manifest.importing` only. Scheme, host and port stay as they are; what is wrong with them is said by the
rules that judge every manifest.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, unquote_plus

from reconciler.models.url import is_secret_name

Bind = Callable[[str, str, str], str]  # suffix of the name, value, place → the reference
Say = Callable[[str], None]

_USER_INFO: Final = re.compile(r"(?<=://)([^/?#@]*)@")
_PARAMETER: Final = re.compile(r"([?&])([^=&#]*)=([^&#]+)")
_TOKEN: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{64}(?![0-9A-Fa-f])")  # the form of Okta's client tokens


@dataclass(frozen=True, slots=True)
class ImportedUrl:
    """The URL without what must not stand in it; `basic` is the user name and password that it held."""

    text: str
    basic: tuple[str, str] | None = None


def clean_url(url: str, *, bind: Bind, say: Say) -> ImportedUrl:
    """The URL with a reference for each secret in it; what is taken out is said."""
    text, basic = url, None
    if user_info := _USER_INFO.search(text):
        text = text[: user_info.start()] + text[user_info.end() :]
        username, _, password = user_info[1].partition(":")
        basic = (unquote(username), unquote(password))
        say("the user name and password in the URL become `auth.basic`")
    text, hash_mark, _ = text.partition("#")
    if hash_mark:
        say("the URL's fragment is left out: it is never sent")
    text = text.replace("${", "$${")
    text = _PARAMETER.sub(lambda match: _parameter(match, bind), text)
    return ImportedUrl(_TOKEN.sub(lambda match: bind("token", match[0], "token in the URL"), text), basic)


def _parameter(match: re.Match[str], bind: Bind) -> str:
    mark, name, value = match.groups()
    shown = unquote_plus(name)
    if not is_secret_name(shown):
        return match[0]
    return f"{mark}{name}={bind(shown, unquote(value), f'URL parameter {shown[:80]!a}')}"
