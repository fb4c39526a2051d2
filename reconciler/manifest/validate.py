"""One document to a webhook or a project, and every fault of it: shape, fields, texts, template, references.

Called by `manifest.load`, which knows the other documents and the positions. Pure but for what a `Judge` remembers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

import orjson
from pydantic import ValidationError

from reconciler.errors import Severity
from reconciler.manifest.field import did_you_mean, field_faults, shown
from reconciler.manifest.rehearse import Rehearsal
from reconciler.models.binding import Binding
from reconciler.models.event import schema_of
from reconciler.models.fault import SECRET_FIELDS, Fault, Path, show
from reconciler.models.operational import operational_schema
from reconciler.models.rule import check_project, check_spec
from reconciler.models.rule_signing import check_signing_now
from reconciler.models.webhook import API_VERSION, SECRET_REFERENCE, Project, Spec, Webhook, secret_names
from reconciler.request.answer import check_validators
from reconciler.template import TemplateFault, check_body, used_partials

KINDS: Final = ("Webhook", "Project", "WebhookTest")
_HEAD: Final = ("apiVersion", "kind", "metadata", "spec")


def kind_of(document: Any) -> str | None:
    """Which kind of document this is; None where its head is at fault."""
    kind = document.get("kind") if isinstance(document, Mapping) else None
    return kind if kind in KINDS else None


def check_head(document: Any) -> Iterator[Fault]:
    """The faults of what every document has: apiVersion, kind, metadata and spec."""
    if not isinstance(document, Mapping):
        hint = "begin with apiVersion, kind, metadata and spec"
        yield Fault("document.shape", (), f"a document must be a mapping{shown(document, ())}", hint)
        return
    for key, known, code in (("apiVersion", (API_VERSION,), "api_version"), ("kind", KINDS, "kind")):
        value = document.get(key)
        if key not in document:
            yield Fault("field.missing", (key,), f"`{key}` is missing", f"write {key}: {known[0]}", on_key=True)
        elif value not in known:
            message = f"`{key}` must be {' or '.join(known)}{shown(value, (key,))}"
            yield Fault(f"document.{code}", (key,), message, did_you_mean(str(value), known))
    for key in document:
        if key not in _HEAD:
            hint = did_you_mean(key, _HEAD)
            if not hint and (key in Spec.model_fields or get_close_matches(key, Spec.model_fields, n=1)):
                hint = "put it below `spec`"
            yield Fault("field.unknown", (key,), f"unknown key: {key}"[:80], hint or _known_hint(), on_key=True)
    for key in ("metadata", "spec"):
        if key not in document:
            if key == "spec" or document.get("kind") == "Webhook":
                yield Fault("field.missing", (key,), f"`{key}` is missing", on_key=True)
        elif not isinstance(document[key], Mapping):
            yield Fault("field.type", (key,), f"`{key}` must be a mapping{shown(document[key], (key,))}")


def _known_hint() -> str:
    return f"known here: {', '.join(_HEAD)}"


class Judge:
    """Judges documents under one project's defaults; remembers what it found out about a body."""

    def __init__(
        self,
        *,
        defaults: Mapping[str, Any] | None = None,
        bindings: Mapping[str, Binding] | None = None,
        partials: Mapping[str, str] | None = None,
        rehearses: bool = False,
        now: datetime | None = None,
    ) -> None:
        """`partials` are the project's; with `rehearses` each body is rendered over the built-in events; with `now`
        what time has overtaken is warned of."""
        self._defaults = defaults or {}
        self._bindings = bindings
        self._partials = partials or {}
        self._rehearsal = Rehearsal() if rehearses else None
        self._now = now
        self._bodies: dict[tuple[str | bytes, str, bytes, int], tuple[TemplateFault, ...]] = {}
        self._conditions: dict[tuple[str, bool], tuple[Fault, ...]] = {}

    def webhook(self, document: Mapping[str, Any]) -> tuple[Webhook | None, list[Fault]]:
        """The webhook of a document with a sound head, if it is one, and its faults; paths are those of the merged
        document, so that some may lead into the project's defaults."""
        metadata, spec = document.get("metadata"), document.get("spec")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        spec = merge(self._defaults, spec if isinstance(spec, Mapping) else {})
        faults: list[Fault] = []
        raw = {"metadata": literal(metadata, ("metadata",), faults), "spec": _texts_of_spec(spec, faults)}
        self._add_partials(raw["spec"])
        webhook = None
        try:
            webhook = Webhook.model_validate(raw)
        except ValidationError as exc:
            faults.extend(field_faults(exc, Webhook, raw))
        faults.extend(_check_name(raw["metadata"]))
        faults.extend(check_spec(raw["spec"]))
        if self._now is not None:
            overtaken = list(check_signing_now(raw["spec"], self._now))
            if any(fault.code == "signing.none_now" for fault in overtaken):
                faults = [fault for fault in faults if fault.code != "signing.end"]
            faults.extend(overtaken)
        faults.extend(check_validators(raw["spec"].get("response_validators")))
        faults.extend(self._check_body(raw["spec"]))
        faults.extend(self._check_when(raw["spec"]))
        if webhook is not None and self._bindings is not None:
            faults.extend(_check_bindings(webhook, raw["spec"], self._bindings))
        faults = [fault for fault in faults if fault.code != "field.missing" or fault.path[0] in document]
        if webhook is not None and self._rehearsal is not None and not _has_error(faults):
            faults.extend(self._rehearsal.faults(webhook))
        return (None if _has_error(faults) else webhook), faults

    def stored(self, document: Mapping[str, Any]) -> tuple[Webhook | None, list[Fault]]:
        """The webhook of a document as stores keep it, and its faults. There every default is in place and nothing is
        unescaped any more; a client that says so may be wrong, so all else is judged as in a manifest."""
        raw = {"metadata": document["metadata"], "spec": document["spec"]}
        faults: list[Fault] = []
        webhook = None
        try:
            webhook = Webhook.model_validate(raw)
        except ValidationError as exc:
            faults.extend(field_faults(exc, Webhook, raw))
        faults.extend(check_spec(raw["spec"]))
        faults.extend(check_validators(raw["spec"].get("response_validators")))
        faults.extend(self._check_body(raw["spec"]))
        faults.extend(self._check_when(raw["spec"]))
        faults = [fault for fault in faults if fault.severity is Severity.ERROR]
        return (None if faults else webhook), faults

    def _add_partials(self, spec: dict[str, Any]) -> None:
        """Put those of the project's partials into a spec that its body includes."""
        body, given = spec.get("body_template"), spec.get("partials") or {}
        if not self._partials or not isinstance(body, str | Mapping) or not isinstance(given, Mapping):
            return
        used = used_partials(body, {**self._partials, **given})
        if used:
            spec["partials"] = {**used, **given}

    def _check_body(self, spec: Mapping[str, Any]) -> Iterator[Fault]:
        body, content_type = spec.get("body_template"), spec.get("content_type", "application/json")
        if not isinstance(body, str | Mapping) or not isinstance(content_type, str):
            return
        partials = spec.get("partials")
        if not isinstance(partials, Mapping) or not all(isinstance(text, str) for text in partials.values()):
            partials = {}
        named = orjson.dumps(partials, option=orjson.OPT_SORT_KEYS) if partials else b""
        schema = schema_of(spec.get("triggers"))
        key = (body if isinstance(body, str) else orjson.dumps(body), content_type, named, id(schema))
        faults = self._bodies.get(key)
        if faults is None:
            faults = check_body(body, content_type=content_type, schema=schema, partials=partials)
            self._bodies[key] = faults
        for fault in faults:
            yield Fault(
                fault.code,
                ("spec", "body_template", *fault.path),
                fault.message,
                fault.hint,
                fault.severity,
                line=fault.line,
                column=fault.column,
                end_column=fault.end_column,
            )

    def _check_when(self, spec: Mapping[str, Any]) -> tuple[Fault, ...]:
        text = spec.get("when")
        if not isinstance(text, str) or not text:
            return ()
        is_operational = schema_of(spec.get("triggers")) is operational_schema()
        faults = self._conditions.get((text, is_operational))
        if faults is None:
            from reconciler.request.condition_check import check_when

            faults = check_when(text, is_operational=is_operational)
            self._conditions[text, is_operational] = faults
        return faults


def _has_error(faults: Iterable[Fault]) -> bool:
    return any(fault.severity is Severity.ERROR for fault in faults)


def judge_project(document: Mapping[str, Any]) -> tuple[Project | None, list[Fault], list[Fault]]:
    """The project of a document with a sound head, if it is one, its faults, and those of its defaults; the latter
    with paths as in a webhook."""
    metadata, spec = document.get("metadata", {}), document.get("spec", {})
    faults: list[Fault] = []
    spec = spec if isinstance(spec, Mapping) else {}
    raw = {
        "metadata": literal(metadata, ("metadata",), faults) if isinstance(metadata, Mapping) else {},
        "spec": {
            key: value if key == "defaults" else literal(value, ("spec", key), faults) for key, value in spec.items()
        },
    }
    project = None
    try:
        project = Project.model_validate(raw)
    except ValidationError as exc:
        faults.extend(field_faults(exc, Project, raw))
    faults.extend(check_project(raw["spec"]))
    defaults = spec.get("defaults")
    default_faults = list(_check_defaults(defaults)) if isinstance(defaults, Mapping) else []
    if any(fault.severity is Severity.ERROR for fault in (*faults, *default_faults)):
        project = None
    return project, faults, default_faults


def _check_defaults(defaults: Mapping[str, Any]) -> Iterator[Fault]:
    faults: list[Fault] = []
    raw = _texts_of_spec(defaults, faults)
    yield from faults
    try:
        Spec.model_validate(raw)
    except ValidationError as exc:
        for fault in field_faults(exc, Spec, raw, prefix=("spec",)):
            if not (fault.code == "field.missing" and len(fault.path) == 2):
                yield fault
    yield from check_spec(raw)
    yield from check_validators(raw.get("response_validators"))


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid upon `under`: mappings merged, all else replaced; null lifts what lies under it."""
    if not under:
        return dict(over)
    merged = {**under, **over}
    for key, value in over.items():
        if key not in under:
            continue
        if value is None:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(under[key], Mapping):
            merged[key] = merge(under[key], value)
    return merged


def _check_name(metadata: Mapping[str, Any]) -> Iterator[Fault]:
    name = metadata.get("name")
    if isinstance(name, str) and metadata.get("renamed_from") == name:
        yield Fault("set.rename", ("metadata", "renamed_from"), f"`renamed_from` is the name itself: {name}"[:120])


def _texts_of_spec(spec: Mapping[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The spec with what no secret is put into as it will stand; references elsewhere stay until they are sent."""
    return {
        key: (_secret_field if key in SECRET_FIELDS else literal)(value, ("spec", key), faults)
        for key, value in spec.items()
    }


def literal(value: Any, path: Path, faults: list[Fault]) -> Any:
    """A value that no secret is put into: `$${` becomes the `${` it stands for, a reference is a fault."""
    return _map_text(value, path, lambda text, where: _unescape(text, where, faults)) if _refers(value) else value


def _refers(value: Any) -> bool:
    """Whether a text of a value, or a key, holds a `${`: few do."""
    if isinstance(value, str):
        return "${" in value
    if isinstance(value, dict):
        return any("${" in key or _refers(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_refers, value))


def _unescape(text: str, path: Path, faults: list[Fault]) -> str:
    if secret_names(text):
        message = f"`{show(path)}` cannot hold a secret"
        hint = f"only {', '.join(SECRET_FIELDS)} of a webhook's spec can"
        faults.append(Fault("secret.misplaced", path, message, hint))
    return SECRET_REFERENCE.sub(lambda match: match[0] if match[1] else "${", text)


def _secret_field(value: Any, path: Path, faults: list[Fault]) -> Any:
    """A value that secrets are put into later: only its keys are judged, and those of a body by its template."""
    if path == ("spec", "body_template"):
        return value
    if isinstance(value, Mapping):
        for key, item in value.items():
            if "${" in key and secret_names(key):
                message = f"a key of `{show(path)}` cannot hold a secret"
                faults.append(Fault("secret.misplaced", (*path, key), message, "put it into the value", on_key=True))
            _secret_field(item, (*path, key), faults)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _secret_field(item, (*path, index), faults)
    return value


def _map_text(value: Any, path: Path, change: Callable[[str, Path], str]) -> Any:
    if isinstance(value, str):
        return change(value, path) if "${" in value else value
    if isinstance(value, Mapping):
        return {
            change(key, (*path, key)) if "${" in key else key: _map_text(item, (*path, key), change)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_map_text(item, (*path, index), change) for index, item in enumerate(value)]
    return value


def _check_bindings(webhook: Webhook, spec: Mapping[str, Any], bindings: Mapping[str, Binding]) -> Iterator[Fault]:
    """Warnings on secrets that the daemon would not resolve."""
    for name, host in webhook.secret_hosts():
        binding = bindings.get(name)
        if binding is not None and binding.allows(host):
            continue
        path = _find_reference(spec, name, ("spec",)) or ("spec",)
        if binding is None:
            hint = did_you_mean(name, bindings) or "bind it in the binding file; until then nothing is sent"
            message = f"the secret is not bound: {name}"
            yield Fault("secret.unbound", path, message, hint, Severity.WARNING)
        else:
            hint = f"it is bound to {', '.join(binding.hosts)}; until that changes nothing is sent"
            message = f"the secret {name} is not bound to this host: {host}"
            yield Fault("secret.bound_elsewhere", path, message, hint, Severity.WARNING)
    names, token_url, host = webhook.token_route() or (frozenset(), "", "")
    for name in sorted(names & bindings.keys()):
        if not bindings[name].allows_token(token_url, host):
            path = _find_reference(spec, name, ("spec",)) or ("spec",)
            hint = "`token_hosts` of the binding says which hosts may; until that changes nothing is sent"
            message = f"access tokens of the secret {name} may not be sent to this host: {host}"
            yield Fault("secret.bound_elsewhere", path, message, hint, Severity.WARNING)


def _find_reference(value: Any, name: str, path: Path) -> Path | None:
    if isinstance(value, str):
        return path if name in secret_names(value) else None
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found = _find_reference(item, name, (*path, key))
        if found is not None:
            return found
    return None
