"""The operator's binding file and the values behind `${secret:name}`, read when a request is about to be sent.

Called by the commands and the worker that send. A name is resolved only for the hosts it is bound to. No value is
kept, logged or put into an error; the masker alone remembers what was read, to hide it.
"""

import functools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import yaml

from reconciler.egress.mask import Masker
from reconciler.errors import ManifestError, Problem, SecretError, Severity
from reconciler.models.binding import SECRET_NAME, Binding, SecretSource, judge_binding_host, parse_source
from reconciler.models.webhook import Webhook

BINDING_FILE_MAX_BYTES: Final = 1024 * 1024
VALUE_MAX_BYTES: Final = 64 * 1024  # a private key in PEM is 3 KiB
VALUE_MIN_CHARACTERS: Final = 8  # masking anything shorter would blot out ordinary words

_Signature = tuple[int, int, int, int] | None
_Loader: Final[type[Any]] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SecretResolver:
    """The bindings of one file and the way to their values."""

    def __init__(
        self, path: Path | None, bindings: dict[str, Binding], warnings: tuple[Problem, ...], masker: Masker
    ) -> None:
        self._path = path
        self._bindings = bindings
        self._seen = self._signatures()
        self.warnings = warnings
        self.masker = masker

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Read a binding file; without one nothing is bound. Raises ManifestError with every problem in it."""
        if path is None:
            return cls(None, {}, (), Masker())
        bindings, problems = read_bindings(path)
        if any(problem.is_error for problem in problems):
            raise ManifestError(problems)
        return cls(path, bindings, problems, Masker())

    def values(self, webhook: Webhook) -> dict[str, str]:
        """The value of each name the webhook refers to.

        Raises SecretError for the first that is unbound, bound to other hosts, or cannot be read; it names the secret,
        the host and the remedy.
        """
        for name, host in webhook.secret_hosts():
            self._judge(name, host)
        return {name: self._read(self._bindings[name]) for name in sorted({name for name, _ in webhook.secret_hosts()})}

    def unresolved(self, webhook: Webhook) -> str | None:
        """Why `values` would fail, as one line for people, or None."""
        try:
            self.values(webhook)
        except SecretError as exc:
            return exc.message
        return None

    def changed(self) -> bool:
        """Whether the binding file or a secret's file is another one than at the last `load` or `reload`."""
        return self._signatures() != self._seen

    def reload(self) -> tuple[Problem, ...]:
        """Take over a changed binding file; values are read anew for every request anyway.

        A broken new file changes nothing but what is returned: its problems.
        """
        seen = self._signatures()
        if self._path is None:
            return ()
        bindings, problems = read_bindings(self._path)
        if any(problem.is_error for problem in problems):
            self._seen = seen
            return problems
        self._bindings, self.warnings = bindings, problems
        self._seen = self._signatures()
        return problems

    def _judge(self, name: str, host: str) -> None:
        binding = self._bindings.get(name)
        if binding is None:
            where = "to the binding file" if self._path else "to a file, and name the file by `--secrets`"
            hint = f"add `{name}: {{from: env:NAME, hosts: [{host}]}}` {where}"
            raise SecretError(f"secret `{name}` is not bound: wanted for {host}", name=name, hint=hint)
        if not binding.allows(host):
            raise SecretError(
                f"secret `{name}` is bound to other hosts than {host}: {', '.join(binding.hosts)}",
                name=name,
                hint=f"if {host} may receive it, add the host to `hosts` of `{name}` in the binding file",
            )

    def _read(self, binding: Binding) -> str:
        value = _read_variable(binding) if binding.source is SecretSource.ENV else _read_file(binding)
        _judge_value(binding, value)
        self.masker.add(value)
        return value

    def _signatures(self) -> dict[str, _Signature]:
        paths = {binding.location for binding in self._bindings.values() if binding.source is SecretSource.FILE}
        if self._path is not None:
            paths.add(str(self._path))
        return {path: _signature(path) for path in paths}


def read_bindings(path: Path) -> tuple[dict[str, Binding], tuple[Problem, ...]]:
    """The bindings of a file and every problem in it, with positions; never a value."""
    reading = _Reading(path)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(BINDING_FILE_MAX_BYTES + 1)
    except OSError as exc:
        reading.add("secrets-unreadable", f"the binding file cannot be read: {(exc.strerror or str(exc)).lower()}")
        return {}, tuple(reading.problems)
    if len(raw) > BINDING_FILE_MAX_BYTES:
        reading.add("secrets-size", f"the binding file is larger than {BINDING_FILE_MAX_BYTES // 1024} KiB")
        return {}, tuple(reading.problems)
    if stat.S_IMODE(mode) & 0o044:
        reading.warn(f"the binding file may be read by others: mode {stat.S_IMODE(mode):04o}", f"chmod 600 {path}")
    return reading.bindings(raw), tuple(reading.problems)


@dataclass(slots=True)
class _Reading:
    """One pass over a binding file, which collects problems instead of stopping."""

    path: Path
    problems: list[Problem] = field(default_factory=list)

    def add(self, code: str, message: str, *, path: str = "", mark: Any = None, hint: str = "") -> None:
        self.problems.append(
            Problem(
                Severity.ERROR,
                code,
                message,
                path=path,
                file=str(self.path),
                line=mark.line + 1 if mark else None,
                column=mark.column + 1 if mark else None,
                hint=hint,
            )
        )

    def warn(self, message: str, hint: str) -> None:
        self.problems.append(Problem(Severity.WARNING, "secrets-mode", message, file=str(self.path), hint=hint))

    def bindings(self, raw: bytes) -> dict[str, Binding]:
        try:
            root = yaml.compose(raw.decode("utf-8"), Loader=_Loader)
        except UnicodeDecodeError as exc:
            self.add("secrets-encoding", f"the binding file is not UTF-8: byte {exc.start}")
            return {}
        except (yaml.YAMLError, RecursionError) as exc:
            # only the parser's own words: its context may quote the file
            self.add("secrets-yaml", f"not YAML: {_problem_of(exc)}", mark=getattr(exc, "problem_mark", None))
            return {}
        if root is None:
            return {}
        found = (self._binding(key, name, value) for key, name, value in self._entries(root, ""))
        return {binding.name: binding for binding in found if binding is not None}

    def _entries(self, node: yaml.Node, path: str) -> Iterator[tuple[yaml.Node, str, yaml.Node]]:
        """The (key node, key, value node) of a mapping; what is no mapping, key or repeats a key is reported."""
        if not isinstance(node, yaml.MappingNode):
            self.add("secrets-type", f"{path or 'the file'} must be a mapping", path=path, mark=node.start_mark)
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not _is_text(key):
                self.add("secrets-type", "a key must be text", path=path, mark=key.start_mark)
            elif key.value in seen:
                self.add("duplicate-key", f"duplicate key: {_shown(key.value)}", path=path, mark=key.start_mark)
            else:
                seen.add(key.value)
                yield key, key.value, value

    def _binding(self, key: yaml.Node, name: str, node: yaml.Node) -> Binding | None:
        if not SECRET_NAME.fullmatch(name):
            hint = "write a name of a-z, 0-9 and _, beginning with a letter, as manifests refer to it"
            self.add("secret-name", f"bad name: {_shown(name)}", path=_shown(name), mark=key.start_mark, hint=hint)
            return None
        before = len(self.problems)
        fields: dict[str, yaml.Node] = {}
        for field_key, field_name, value in self._entries(node, name):
            if field_name in ("from", "hosts"):
                fields[field_name] = value
            else:
                hint = "a binding has `from` and `hosts`"
                message = f"unknown key: {_shown(field_name)}"
                self.add("unknown-key", message, path=name, mark=field_key.start_mark, hint=hint)
        if isinstance(node, yaml.MappingNode):
            for missing in ("from", "hosts"):
                if missing not in fields:
                    self.add("missing-key", f"`{missing}` is missing", path=name, mark=key.start_mark)
        source = self._source(f"{name}.from", fields["from"]) if "from" in fields else None
        hosts = self._hosts(f"{name}.hosts", fields["hosts"]) if "hosts" in fields else ()
        if len(self.problems) > before or source is None:
            return None
        return Binding(name, source[0], source[1], hosts)

    def _source(self, path: str, node: yaml.Node) -> tuple[SecretSource, str] | None:
        source = parse_source(node.value) if _is_text(node) else None
        if source is None:
            # never quoted: someone may have put the secret itself here
            hint = "the value itself never stands in this file"
            self.add(
                "secret-from", "`from` is neither env:NAME nor file:PATH", path=path, mark=node.start_mark, hint=hint
            )
            return None
        if source[0] is SecretSource.FILE:
            return source[0], str(self.path.parent / source[1])
        return source

    def _hosts(self, path: str, node: yaml.Node) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            hint = "write the hosts that may receive it, like [acme.workflows.okta.com]"
            self.add(
                "secret-hosts",
                "`hosts` must be a list of at least one host",
                path=path,
                mark=node.start_mark,
                hint=hint,
            )
            return ()
        hosts: list[str] = []
        for index, item in enumerate(node.value):
            host = item.value.lower().removesuffix(".") if _is_text(item) else ""
            reason = judge_binding_host(host, is_shared=is_shared_suffix) if host else "must be a host name"
            if reason:
                self.add("secret-hosts", f"host refused: {reason}", path=f"{path}[{index}]", mark=item.start_mark)
            hosts.append(host)
        return tuple(hosts)


@functools.cache
def is_shared_suffix(domain: str) -> bool:
    """Whether anybody may get a name directly or somewhere under this domain, by the Public Suffix List
    (publicsuffix.org), its private section included."""
    from publicsuffixlist import PSLFILE, PublicSuffixList  # 50 ms, needed for wildcards only

    if PublicSuffixList().is_public(domain):
        return True
    lines = Path(PSLFILE).read_text(encoding="utf-8").splitlines()
    return any(line.strip().endswith(f".{domain}") for line in lines if not line.startswith("//"))


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"


def _shown(text: str) -> str:
    return ascii(text[:40])[1:-1]


def _problem_of(exc: Exception) -> str:
    return str(getattr(exc, "problem", None) or getattr(exc, "reason", None) or "nested too deeply")


def _signature(path: str) -> _Signature:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read_variable(binding: Binding) -> str:
    value = os.environ.get(binding.location)
    if value is None:
        hint = f"set {binding.location} where this command runs"
        raise _unusable(binding, f"the variable {binding.location} is not set", hint)
    return value


def _read_file(binding: Binding) -> str:
    try:
        with Path(binding.location).open("rb") as file:
            raw = file.read(VALUE_MAX_BYTES + 1)
    except OSError as exc:
        reason = f"{binding.location}: {(exc.strerror or str(exc)).lower()}"
        raise _unusable(binding, reason, "the file must exist and be readable for this user") from None
    if len(raw) > VALUE_MAX_BYTES:
        raise _unusable(
            binding, f"{binding.location} is larger than {VALUE_MAX_BYTES // 1024} KiB", "is it the right file?"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _unusable(binding, f"{binding.location} is not UTF-8", "is it the right file?") from None
    return text.removesuffix("\n").removesuffix("\r")


def _judge_value(binding: Binding, value: str) -> None:
    where = f"{binding.source.value}:{binding.location}"
    allowed = (
        "\r\n" if value.startswith("-----BEGIN ") else ""
    )  # PEM has lines; whatever else has them would split a header
    if not value:
        raise _unusable(binding, f"{where} is empty", "")
    if any(not char.isprintable() and char not in allowed and not char == " " for char in value):
        raise _unusable(binding, f"{where} holds control characters", "is there a line end or a tab in it?")
    if len(value) < VALUE_MIN_CHARACTERS:
        reason = f"{where} has {len(value)} characters, fewer than {VALUE_MIN_CHARACTERS}"
        raise _unusable(binding, reason, "so short a value cannot be masked without blotting out ordinary words")


def _unusable(binding: Binding, reason: str, hint: str) -> SecretError:
    return SecretError(
        f"secret `{binding.name}` for {', '.join(binding.hosts)} cannot be read: {reason}", name=binding.name, hint=hint
    )
