"""A webhook of which little is known until somebody looks into it; from then on it is a `Webhook` like any other.

Made by `manifest` and by the stores, of which a plan reads ten thousand webhooks, compares digests, and shows a few.
Whatever a webhook can do, one that is not open does as well; only the cost is another.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import orjson
from pydantic import BaseModel, ValidationError

from reconciler.errors import StoreError
from reconciler.models.webhook import Status, Webhook, WebhookName, host_of, secret_hosts_of

_UNREADABLE_HINT: Final = "it was written by another version of reconciler, or by hand; upgrade, or roll back"


class Seal(NamedTuple):
    """What is known of a webhook, and where the rest is. `read` gives its canonical document as it was written, and may
    be called often. `digest` is the document's; None where an older version with fewer defaults may have written it."""

    name: WebhookName
    read: Callable[[], bytes]
    digest: str | None = None
    renamed_from: WebhookName | None = None


class Unopened(Webhook, defer_build=True):
    """Looks into its document when `metadata` or `spec` is asked for, and becomes a plain Webhook by that; raises
    StoreError where the document cannot be read. What can be told without looking is.

    A method may find its webhook opened meanwhile, by its own arguments or by another thread; so none goes by `self`.
    """

    @classmethod
    def of(cls, seal: Seal) -> Webhook:
        """The webhook behind a seal."""
        webhook = cls.__new__(cls)  # without what pydantic keeps beside the fields, until there are fields
        webhook.__dict__["seal"] = seal
        return webhook

    @property
    def name(self) -> WebhookName:
        name: WebhookName = self.__dict__["seal"].name  # as `_seal`, without a call: asked for a dozen times
        return name

    @property
    def address(self) -> str:
        return f"webhook.{_seal(self).name}"

    @property
    def renamed_from(self) -> WebhookName | None:
        origin: WebhookName | None = self.__dict__["seal"].renamed_from
        return origin

    @property
    def is_active(self) -> bool:
        if b'"inactive"' not in _seal(self).read():  # an apply asks each, while others wait for it to end
            return True
        return bool(_peek(self, "spec", "status") == Status.ACTIVE.value)

    @property
    def protect(self) -> bool | None:
        if b'"protect"' not in _seal(self).read():  # nearly never; no need to read it all
            return None
        protect: bool | None = _peek(self, "metadata", "protect")
        return protect

    @property
    def host(self) -> str:
        return host_of(_peek(self, "spec", "url"))

    def document(self) -> dict[str, Any]:
        if _seal(self).digest is None:
            return _opened(self).document()
        raw = orjson.loads(_seal(self).read())
        parts: dict[str, Any] = _in_order(raw, Webhook)
        return {"apiVersion": raw["apiVersion"], "kind": raw["kind"], **parts}

    def canonical(self) -> bytes:
        return _opened(self).canonical() if _seal(self).digest is None else _seal(self).read()

    def digest(self) -> str:
        return _seal(self).digest or _opened(self).digest()

    def secret_hosts(self) -> tuple[tuple[str, str], ...]:
        raw = _seal(self).read()
        return secret_hosts_of(orjson.loads(raw)["spec"]) if b"${secret:" in raw else ()

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return _opened(self).model_dump(**options)

    def model_copy(self, **options: Any) -> Webhook:  # type: ignore[override]
        return _opened(self).model_copy(**options)

    def __eq__(self, other: object) -> bool:
        return bool(_opened(self) == other)

    __hash__ = Webhook.__hash__

    def __repr__(self) -> str:
        return repr(_opened(self))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("metadata", "spec") and "seal" in self.__dict__:
                return _opened(self).__dict__[name]
            return super().__getattr__(name)


def _seal(webhook: Webhook) -> Seal:
    seal: Seal = webhook.__dict__["seal"]
    return seal


def _peek(webhook: Webhook, part: str, key: str) -> Any:
    """A value that every version writes, even if it is the default, or that has none."""
    return orjson.loads(_seal(webhook).read())[part].get(key)


def _opened(webhook: Webhook) -> Webhook:
    """The webhook, being a plain one. Another thread may look at the same time: what it needs is there first."""
    if type(webhook) is Webhook:
        return webhook
    seal = _seal(webhook)
    try:
        opened = Webhook.from_document(seal.read())
        if opened.name != seal.name:
            raise ValueError(f"another name: {opened.name}")
    except (ValidationError, ValueError, KeyError, TypeError) as exc:
        raise StoreError(f"a stored webhook cannot be read: {seal.name}", hint=_UNREADABLE_HINT) from exc
    metadata = opened.metadata
    if seal.renamed_from is not None:
        metadata = metadata.model_copy(update={"renamed_from": seal.renamed_from})
    webhook.__dict__.update(metadata=metadata, spec=opened.spec)
    for slot, state in (("fields_set", {"metadata", "spec"}), ("extra", None), ("private", None)):
        object.__setattr__(webhook, f"__pydantic_{slot}__", state)
    object.__setattr__(webhook, "__class__", Webhook)
    return webhook


def _in_order(value: Any, model: type[BaseModel] | None) -> Any:
    """A value of a canonical document, whose keys are sorted, in the order of its model's fields."""
    if isinstance(value, list):
        return value if model is None else [_in_order(item, model) for item in value]
    if model is None or not isinstance(value, dict):
        return value
    return {
        name: value[name] if inner is None else _in_order(value[name], inner)
        for name, inner in _shape(model)
        if name in value
    }


@cache
def _shape(model: type[BaseModel]) -> tuple[tuple[str, type[BaseModel] | None], ...]:
    """A model's fields in order, each with the model of what stands in it."""
    return tuple((name, _model_in(field.annotation)) for name, field in model.model_fields.items())


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for item in get_args(annotation) if (found := _model_in(item)) is not None), None)
