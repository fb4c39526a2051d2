"""`apono_manual_webhook` resources of a Terraform state as manifests of ours, and what a person must do beside.

Called by `import`. A secret never leaves here: header values and credentials become references, and messages name
places, never values. What has no counterpart is said by name; nothing is dropped silently.
"""

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from reconciler.errors import Problem, Severity
from reconciler.jsontext import escape
from reconciler.manifest.emit import yaml_text
from reconciler.manifest.format import as_written
from reconciler.manifest.imported_url import clean_url
from reconciler.manifest.parse import parse
from reconciler.manifest.terraform import Resource
from reconciler.manifest.validate import Judge
from reconciler.models.fault import join_path
from reconciler.models.rule import DAEMON_HEADERS, FRAMING_HEADERS
from reconciler.models.webhook import API_VERSION, Spec, host_of

TYPE: Final = "apono_manual_webhook"
NAME_MAX: Final = 63
TIMEOUT_MAX_SECONDS: Final = 65
REPEATED_MIN: Final = 8  # characters of a secret that are looked for in the body; shorter ones stand there by chance
KNOWN: Final = frozenset(
    ("id", "name", "active", "type", "body_template", "response_validators", "timeout_in_sec", "authentication_config")
)

_NO_NAME: Final = re.compile(r"[^a-z0-9]+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_SECRET_NAME: Final = re.compile(r"[^a-z0-9]+")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110, section 5.6.2
_MEDIA_TYPE: Final = re.compile(rf"{_HEADER_NAME.pattern}/{_HEADER_NAME.pattern}([ \t]*;[ \t]*[^\x00-\x1f\x7f]+)?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class SecretToBind:
    """A reference that a manifest makes: its name, the host it is sent to and the place whose value it stands for."""

    name: str
    host: str
    place: str


@dataclass(frozen=True, slots=True)
class Imported:
    """`manifests` are documents by webhook name, in the form that is stored; `problems` are warnings: what was left
    out, and what the manifests will be refused for until it is mended."""

    manifests: Mapping[str, dict[str, Any]]
    secrets: tuple[SecretToBind, ...]
    problems: tuple[Problem, ...]


def import_webhooks(resources: Iterable[Resource]) -> Imported:
    """The manifests of every resource of TYPE, sorted by name; the same for every order of resources."""
    mine = [(_slug(resource), resource) for resource in resources if resource.type == TYPE]
    run = Run()
    for slug, resource in sorted(mine, key=lambda item: (item[0], item[1].address)):
        run.take(slug, resource)
    manifests = {name: run.manifests[name] for name in sorted(run.manifests)}
    for document in manifests.values():
        run.problems.extend(_faults(document))
    return Imported(manifests, tuple(run.secrets), tuple(run.problems))


@dataclass(slots=True)
class Run:
    """One import: the names that are given, and what was found so far."""

    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: list[SecretToBind] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def take(self, slug: str, resource: Resource) -> None:
        """One resource: a manifest, or the reason why there is none."""
        kind = _mapping(resource.values, "type")
        request = _mapping(kind, "http_request")
        if not request:
            action = _mapping(kind, "integration")
            what = f"an integration's action, {_text(action.get('action_name'))}" if action else "no HTTP request"
            title = _text(resource.values.get("name"))
            self.say(resource.address, f"the webhook {title!a} is left out: {what}, which has no counterpart here")
            return
        name = _unique(slug, self.manifests, separator="-", longest=NAME_MAX)
        self.manifests[name] = _Conversion(self, name).document(resource.values, request)

    def say(self, path: str, message: str, hint: str = "") -> None:
        """Tell the person something."""
        self.problems.append(Problem(Severity.WARNING, "import", message, path=path, hint=hint))


@dataclass(slots=True)
class _Conversion:
    """One webhook. `references` are those made so far, by the value that they stand for."""

    run: Run
    name: str
    host: str = ""
    references: dict[str, str] = field(default_factory=dict)

    def document(self, values: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
        """The webhook's document, keys in the schema's order."""
        self.host = host_of(_text(request.get("url")))
        url = clean_url(_text(request.get("url")), bind=self._bind, say=self._say)
        headers, content_type = self._headers(_mapping(request, "headers"))
        auth = self._auth(_mapping(_mapping(values, "authentication_config"), "oauth"), url.basic)
        method = _text(request.get("method")).upper() or "POST"
        given = {
            "status": "active" if values.get("active", True) else "inactive",
            "method": method,
            "url": url.text,
            "headers": headers,
            "triggers": ["Manual"],
            "body_template": self._body(values.get("body_template"), method),
            "content_type": content_type,
            "auth": auth,
            "timeout_in_sec": self._timeout(values.get("timeout_in_sec")),
            "response_validators": _validators(values.get("response_validators")),
        }
        for key in sorted(values.keys() - KNOWN):
            if values[key] not in (None, "", [], {}):
                self._say(f"`{key}` has no counterpart here and is left out")
        title = _CONTROL.sub(" ", _text(values.get("name"))).strip()
        metadata = {"name": self.name, **({"title": title} if title else {})}
        spec = {key: value for key, value in given.items() if value not in (None, {}, [], *_DEFAULTS.get(key, ()))}
        return {"apiVersion": API_VERSION, "kind": "Webhook", "metadata": metadata, "spec": spec}

    def _say(self, message: str, hint: str = "") -> None:
        self.run.say(f"webhook.{self.name}", message, hint)

    def _bind(self, suffix: str, value: str, place: str, host: str | None = None) -> str:
        """A new reference for a value; its name says which webhook and what."""
        name = _NO_SECRET_NAME.sub("_", f"{self.name}_{_CAMEL.sub('_', suffix)}".lower()).strip("_")
        name = name if name[0].isalpha() else f"webhook_{name}"
        taken = {secret.name for secret in self.run.secrets}
        name = _unique(name, taken, separator="_", longest=len(name) + NAME_MAX)
        place = f"{place} of webhook.{self.name}"
        self.run.secrets.append(SecretToBind(name, self.host if host is None else host, place))
        reference = f"${{secret:{name}}}"
        self.references.setdefault(value, reference)
        return reference

    def _headers(self, given: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
        headers: dict[str, str] = {}
        content_type = None
        for name, value in sorted(given.items()):
            lower = name.lower()
            if not isinstance(value, str):
                continue
            if lower == "content-type":
                content_type = self._content_type(value)
            elif lower in FRAMING_HEADERS or lower in DAEMON_HEADERS or lower.startswith("x-reconciler-"):
                self._say(f"the header {lower} is left out: the daemon sets it")
            elif not _HEADER_NAME.fullmatch(name) or lower in {item.lower() for item in headers}:
                self._say(f"the header {name[:80]!a} is left out: its name is not one, or is there twice")
            else:
                headers[name] = self._bind(name, value, f"header {name}")
        return headers, content_type

    def _content_type(self, value: str) -> str | None:
        if _MEDIA_TYPE.fullmatch(value):
            return value
        self._say("the header content-type is left out: it is no media type")
        return None

    def _auth(self, oauth: Mapping[str, Any], basic: tuple[str, str] | None) -> dict[str, Any] | None:
        if basic is not None and oauth:
            self._say("the user name and password in the URL are left out, since there is OAuth")
        if oauth:
            token_host = host_of(_text(oauth.get("token_endpoint_url")))
            secret = _text(oauth.get("client_secret"))
            bind = partial(self._bind, host=token_host)
            token_url = clean_url(_text(oauth.get("token_endpoint_url")), bind=bind, say=self._say)
            scopes = [_text(scope) for scope in _list(oauth.get("scopes"))]
            return {
                "oauth2": {
                    "token_url": token_url.text,
                    "client_id": _text(oauth.get("client_id")),
                    **({"scopes": scopes} if scopes else {}),
                    "client_secret": self._bind("client_secret", secret, "OAuth client secret", token_host),
                }
            }
        if basic is None:
            return None
        password = self._bind("password", basic[1], "password in the URL")
        return {"basic": {"username": _escaped(basic[0]), "password": password}}

    def _body(self, body: object, method: str) -> str | None:
        if not isinstance(body, str) or not body:
            return None
        if method in ("GET", "DELETE"):
            self._say(f"`body_template` is left out: {method} is sent without a body")
            return None
        text = _escaped(body)
        for value, reference in self.references.items():
            if len(value) >= REPEATED_MIN:
                text = text.replace(_escaped(value), reference).replace(_escaped(escape(value)), reference)
        return text

    def _timeout(self, seconds: object) -> int | None:
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            return None
        if seconds > TIMEOUT_MAX_SECONDS:
            self._say(f"`timeout_in_sec` is {TIMEOUT_MAX_SECONDS}, the most there is, not {seconds}")
        return min(seconds, TIMEOUT_MAX_SECONDS)


_DEFAULTS: Final[Mapping[str, tuple[Any, ...]]] = {
    key: (Spec.model_fields[key].default,) for key in ("status", "method", "content_type")
}


def _validators(given: object) -> list[dict[str, Any]]:
    return [
        {"json_path": _text(item.get("json_path")), "expected_values": list(_list(item.get("expected_values")))}
        for item in _list(given)
        if isinstance(item, Mapping)
    ]


def _faults(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What the manifest will be refused for; of warnings, `validate` tells."""
    written = as_written(document)
    path = f"webhook.{document['metadata']['name']}"
    parsed = parse(path, yaml_text(written), {})
    _, faults = Judge().webhook(written)
    found = [(problem.code, problem.path, problem.message, problem.hint) for problem in parsed.problems]
    errors = (fault for fault in faults if fault.severity is Severity.ERROR)
    found += [(fault.code, join_path(fault.path), fault.message, fault.hint) for fault in errors]
    for code, place, message, hint in found:
        yield Problem(Severity.WARNING, code, message, path=f"{path}: {place}", hint=hint)


def _slug(resource: Resource) -> str:
    """A webhook's name made of the resource's name, or of its label in the configuration."""
    for text in (_text(resource.values.get("name")), resource.label):
        ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        slug = _NO_NAME.sub("-", ascii_text.lower()).strip("-")[:NAME_MAX].strip("-")
        if slug:
            return slug
    return "webhook"


def _unique(name: str, taken: Container[str], *, separator: str, longest: int) -> str:
    """The name, or with the first number that makes it another."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        suffix = f"{separator}{number}"
        candidate = name[: longest - len(suffix)].rstrip(separator) + suffix
    return candidate


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _escaped(text: str) -> str:
    """A text as it stands where references are looked for: a literal `${` stays one."""
    return text.replace("${", "$${")
