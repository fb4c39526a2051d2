"""The operator's binding file and the values behind `${secret:name}`, read for each claim, or when a request is made.

Called by the commands and the worker that send. A name is resolved only for the hosts it is bound to. No value is
logged or put into an error; what was read is remembered for the masker, to hide it, and to know it again.
"""

import contextlib
import functools
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final, Self

import yaml

from reconciler.egress.mask import Masker
from reconciler.egress.operator_file import OperatorFile, Signature, is_text, read_whole, shown, signature
from reconciler.errors import ManifestError, Problem, SecretError
from reconciler.models.binding import SECRET_NAME, Binding, SecretSource, judge_binding_host, parse_source
from reconciler.models.webhook import Webhook
from reconciler.request.sign import PRIVATE_PREFIX, SECRET_PREFIX

VALUE_MAX_BYTES: Final = 64 * 1024  # a private key in PEM is 3 KiB
ALLOWED_MAX: Final = 4096  # sets of names and hosts whose judgement is remembered
VALUE_MIN_CHARACTERS: Final = 8  # masking anything shorter would blot out ordinary words

# The secrets of a webhook with their hosts, and its `token_route`
_Wanted = tuple[tuple[tuple[str, str], ...], tuple[frozenset[str], str, str] | None]


class SecretResolver:
    """The bindings of one file and the way to their values."""

    def __init__(
        self,
        path: Path | None,
        bindings: dict[str, Binding],
        warnings: tuple[Problem, ...],
        masker: Masker,
        *,
        seen: Signature = None,
    ) -> None:
        self._path = path
        self._bindings = bindings
        self._allowed: dict[_Wanted, tuple[Binding, ...]] = {}
        self._is_all_known = False  # to the masker
        self._read_last: dict[str, str] = {}  # by name; what is here was judged, and is known to the masker
        self._seen = self._signatures(seen)
        self.warnings = warnings
        self.masker = masker

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Read a binding file; without one nothing is bound. Raises ManifestError with every problem in it."""
        if path is None:
            return cls(None, {}, (), Masker())
        seen = signature(path)  # from before it is read: what is written meanwhile is a change
        bindings, problems = read_bindings(path)
        if any(problem.is_error for problem in problems):
            raise ManifestError(problems)
        return cls(path, bindings, problems, Masker(), seen=seen)

    def values(
        self, webhook: Webhook, *, idle: Collection[str] = (), read: dict[str, str] | None = None
    ) -> dict[str, str]:
        """The value of each name the webhook refers to, but for those that are `idle`: not needed now. `read` has what
        was read just before, by name, and takes what is read.

        Raises SecretError for the first that is unbound, bound to other hosts, opens access tokens that the webhook's
        host may not have, or cannot be read; it names the secret, the host and the remedy.
        """
        if not self._is_all_known:
            self._know_all()
        wanted = webhook.secret_hosts()
        if idle:
            wanted = tuple([pair for pair in wanted if pair[0] not in idle])
        route = webhook.token_route()
        bindings = self._allowed.get((wanted, route))
        if bindings is None:
            bindings = self._judged((wanted, route))
        read = {} if read is None else read
        for binding in bindings:
            if binding.name not in read:
                read[binding.name] = self._read(binding)
        return {binding.name: read[binding.name] for binding in bindings}

    def _judged(self, wanted: _Wanted) -> tuple[Binding, ...]:
        """The bindings of all the names, if their hosts may receive them; remembered until the file is another one."""
        pairs, route = wanted
        for name, host in pairs:
            self._judge(name, host)
        if route is not None:
            self._judge_tokens(*route)
        if len(self._allowed) >= ALLOWED_MAX:
            self._allowed.clear()
        found = tuple(self._bindings[name] for name in sorted({name for name, _ in pairs}))
        self._allowed[wanted] = found
        return found

    def value(self, name: str) -> str:
        """The value of a bound name, for use on this machine alone. Raises SecretError."""
        if name not in self._bindings:
            hint = "name the binding file by `--secrets`" if self._path is None else "add it to the binding file"
            raise SecretError(f"secret `{name}` is not bound", name=name, hint=hint)
        return self._read(self._bindings[name])

    def unresolved(self, webhook: Webhook) -> str | None:
        """Why `values` would fail, as one line for people, or None."""
        try:
            self.values(webhook)
        except SecretError as exc:
            return exc.message
        return None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that secrets stand in, each once."""
        found = {binding.location for binding in self._bindings.values() if binding.source is SecretSource.FILE}
        return tuple(Path(location) for location in sorted(found))

    def changed(self) -> bool:
        """Whether the binding file or a secret's file is another one than at the last `load` or `reload`."""
        return self._signatures(self._file_signature()) != self._seen

    def reload(self) -> tuple[Problem, ...]:
        """Take over a changed binding file; values are read anew for each claim anyway.

        A broken new file changes nothing but what is returned: its problems.
        """
        file = self._file_signature()
        seen = self._signatures(file)
        if self._path is None:
            return ()
        bindings, problems = read_bindings(self._path)
        if any(problem.is_error for problem in problems):
            self._seen = seen
            return problems
        self._bindings, self.warnings = bindings, problems
        self._allowed.clear()
        self._is_all_known = False
        self._seen = self._signatures(file)
        return problems

    def _know_all(self) -> None:
        """Have every bound value masked, whoever it is sent to: a receiver may repeat what another webhook, another
        process or an earlier start sent it. What cannot be read is the matter of those who refer to it."""
        self._is_all_known = True
        for binding in self._bindings.values():
            with contextlib.suppress(SecretError):
                self._read(binding)

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

    def _judge_tokens(self, names: frozenset[str], token_url: str, host: str) -> None:
        """A token opens what its secret opens: who may propose a manifest must not have it sent to a host of his."""
        for name in sorted(names):
            if not self._bindings[name].allows_token(token_url, host):
                raise SecretError(
                    f"access tokens of secret `{name}` may not be sent to {host}",
                    name=name,
                    hint=f"if {host} may receive them, write `token_hosts: [{host}]` beside `hosts` of `{name}` in the "
                    "binding file",
                )

    def _read(self, binding: Binding) -> str:
        value = _read_variable(binding) if binding.source is SecretSource.ENV else _read_file(binding)
        if self._read_last.get(binding.name) == value:
            return value
        _judge_value(binding, value)
        self.masker.add(value)
        for prefix in (SECRET_PREFIX, PRIVATE_PREFIX):
            bare = value.removeprefix(prefix)
            if bare != value and len(bare) >= VALUE_MIN_CHARACTERS:  # receivers show keys without their prefix too
                self.masker.add(bare)
        self._read_last[binding.name] = value
        return value

    def _file_signature(self) -> Signature:
        return None if self._path is None else signature(self._path)

    def _signatures(self, file: Signature) -> dict[str, Signature]:
        """Those of the secrets' files as they are, and that of the binding file."""
        found = {str(path): signature(path) for path in self.files}
        return found if self._path is None else {**found, str(self._path): file}


def read_bindings(path: Path) -> tuple[dict[str, Binding], tuple[Problem, ...]]:
    """The bindings of a file and every problem in it, with positions; never a value."""
    reading = _Reading(path, prefix="secrets", kind="binding file")
    return reading.bindings(), tuple(reading.problems)


class _Reading(OperatorFile):
    """One pass over a binding file."""

    def bindings(self) -> dict[str, Binding]:
        root = self.root()
        if root is None:
            return {}
        found = (self._binding(key, name, value) for key, name, value in self.entries(root, ""))
        return {binding.name: binding for binding in found if binding is not None}

    def _binding(self, key: yaml.Node, name: str, node: yaml.Node) -> Binding | None:
        if not SECRET_NAME.fullmatch(name):
            hint = "write a name of a-z, 0-9 and _, beginning with a letter, as manifests refer to it"
            self.add("secret-name", f"bad name: {shown(name)}", path=shown(name), mark=key.start_mark, hint=hint)
            return None
        before = len(self.problems)
        fields: dict[str, yaml.Node] = {}
        for field_key, field_name, value in self.entries(node, name):
            if field_name in ("from", "hosts", "token_hosts"):
                fields[field_name] = value
            else:
                hint = "a binding has `from` and `hosts`, and may have `token_hosts`"
                message = f"unknown key: {shown(field_name)}"
                self.add("unknown-key", message, path=name, mark=field_key.start_mark, hint=hint)
        if isinstance(node, yaml.MappingNode):
            for missing in ("from", "hosts"):
                if missing not in fields:
                    self.add("missing-key", f"`{missing}` is missing", path=name, mark=key.start_mark)
        source = self._source(f"{name}.from", fields["from"]) if "from" in fields else None
        hosts = self._hosts(f"{name}.hosts", fields["hosts"]) if "hosts" in fields else ()
        token_hosts = self._hosts(f"{name}.token_hosts", fields["token_hosts"]) if "token_hosts" in fields else None
        if len(self.problems) > before or source is None:
            return None
        return Binding(name, source[0], source[1], hosts, token_hosts)

    def _source(self, path: str, node: yaml.Node) -> tuple[SecretSource, str] | None:
        source = parse_source(node.value) if is_text(node) else None
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
                f"`{path.rpartition('.')[2]}` must be a list of at least one host",
                path=path,
                mark=node.start_mark,
                hint=hint,
            )
            return ()
        hosts: list[str] = []
        for index, item in enumerate(node.value):
            given = item.value if is_text(item) else ""
            host = (given.lower() if given.isascii() else given).removesuffix(
                "."
            )  # lower case makes K of a Kelvin sign
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


def _read_variable(binding: Binding) -> str:
    value = os.environ.get(binding.location)
    if value is None:
        hint = f"set {binding.location} where this command runs"
        raise _unusable(binding, f"the variable {binding.location} is not set", hint)
    return value


def _read_file(binding: Binding) -> str:
    try:
        raw, _ = read_whole(Path(binding.location), max_bytes=VALUE_MAX_BYTES)
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
    # PEM and JWK have lines, and no header takes them for that; whatever else has them would split one
    allowed = "\r\n" if value.startswith("-----BEGIN ") else "\r\n\t" if value.startswith("{") else ""
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
