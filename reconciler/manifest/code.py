"""Every code a manifest's problem may have, with the rule it stands for; the codes are stable.

Shown as `detail` in `validate --format json`, and by whatever needs a list of rules. A fault with a code that does not
stand here fails a test.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        # files
        "file.missing": "every PATH must exist",
        "file.unreadable": "every manifest must be a file that may be read",
        "file.unwritable": "a file to be laid out may be written",
        "file.encoding": "manifests are UTF-8",
        "file.too_large": "a manifest file has a largest size",
        # YAML
        "yaml.syntax": "a manifest is YAML",
        "yaml.character": "control characters and line separators are not taken",
        "yaml.tag": "YAML tags are not taken; types follow from how a value is written",
        "yaml.alias": "aliases may not multiply a document or stand inside what they name",
        "yaml.merge_key": "merge keys are not taken",
        "yaml.depth": "a document has a greatest depth",
        "yaml.documents": "a file has a greatest number of documents",
        "yaml.duplicate_key": "a key stands once in a mapping",
        "yaml.key": "keys are text",
        "yaml.ambiguous": "a value means the same to every YAML parser, or is quoted",
        "yaml.number": "numbers fit into 64 bits",
        # what `fmt` leaves as it is
        "layout.alias": "keys are put in order only where nothing refers to another place",
        "layout.directive": "manifests need no YAML directives",
        "layout.unsafe": "a file says the same before and after it is laid out",
        # ${…}
        "reference.unset": "every ${var:NAME} is set by --var or --var-file",
        "reference.bad": "`${` begins ${var:NAME} or ${secret:NAME}; a literal one is written $${",
        # documents
        "document.shape": "a document is a mapping of apiVersion, kind, metadata and spec",
        "document.api_version": "the apiVersion is reconciler/v1",
        "document.kind": "the kind is Webhook, Project or WebhookTest",
        # fields
        "field.missing": "required keys are there",
        "field.unknown": "unknown keys are errors",
        "field.type": "nothing is coerced: text is text, a number is a number",
        "field.choice": "the value is one of those known",
        "field.range": "the value is within its bounds",
        "field.empty": "what is written is not empty",
        "field.name": "a name is 1 to 63 of a-z, 0-9 and inner hyphens",
        "field.duration": "a duration is a number and s, m or h, longer than 0s",
        "field.value": "the value has the form its field asks for",
        "no_effect_yet": "a field that a later version gives its effect is checked and kept; nothing is sent meanwhile",
        # the set
        "set.empty": "the PATHs hold manifests",
        "set.duplicate_name": "a name stands once in all manifests",
        "set.duplicate_project": "there is at most one Project",
        "set.rename": "a webhook is renamed from another name, and no two from one",
        # tests
        "test.webhook": "a test names a webhook of the manifests",
        "test.event": "a test has one event: sample, event or event_file",
        "test.event_file": "an event's file is JSON, and lies with the manifests",
        "test.set": "`set` replaces fields of the event schema",
        "test.expect": "a test expects something, and nothing of a request that is not sent",
        "check.match": "the webhook wants the event, or not, as the test expects",
        "check.method": "the method is the one that the test expects",
        "check.url": "the URL is the one that the test expects",
        "check.headers": "the headers are those that the test expects",
        "check.body": "the body is the one that the test expects",
        "check.body_contains": "the body holds what the test expects",
        "check.not_run": "a test and its webhook have no error",
        "check.untested": "with `--require-tests`, each webhook has a test",
        # URLs
        "url.scheme": "only absolute HTTPS URLs are sent to",
        "url.host": "the host is a public name; no IP address in any spelling, no localhost",
        "url.port": "a URL names no port",
        "url.user_info": "a URL holds no user name or password",
        "url.fragment": "a URL has no fragment",
        "url.length": "a URL is as long as every receiver takes",
        "url.character": "a URL holds only characters of RFC 3986",
        "okta.method": "Okta Workflows takes GET and POST only",
        "okta.invoke": "invoke URLs of Okta Workflows end in /invoke",
        "okta.token_twice": "Okta's client token goes into the header or the query, never both",
        # secrets
        "secret.literal": "secrets stand as ${secret:NAME}, never in plain text",
        "secret.misplaced": "secrets go into URL path and query, headers, query, auth, signing and body only",
        "secret.placeholder": "placeholders of the documentation are replaced",
        "secret.unbound": "the operator's binding file names every secret",
        "secret.bound_elsewhere": "a secret is sent only to the hosts it is bound to",
        # requests
        "header.name": "header names are tokens (RFC 9110, section 5.6.2)",
        "header.length": "a header, and all headers together, have a largest size",
        "header.value": "header values are printable ASCII on one line",
        "header.duplicate": "header names differ in more than case",
        "header.reserved": "headers of the connection, and those the daemon sends, cannot be set",
        "query.name": "query parameters have names",
        "body.not_allowed": "GET and DELETE have no body",
        "body.content_type": "the content type is a media type, in UTF-8",
        "filter.glob": "a negative glob names what it excludes",
        "auth.kind": "auth has exactly one kind",
        "auth.oauth2": "OAuth 2.0 has a client secret, or a private key with its id and algorithm",
        "auth.basic": "a user name holds no colon (RFC 7617, section 2)",
        "auth.header": "the authorization header is set once",
        "validator.json_path": "a JSON path is one of RFC 9535",
        "signing.time": "a signing window is two RFC 3339 times in order",
        "signing.gap": "signing windows overlap, so that at any time a key signs",
        "signing.end": "there is a signing key for every time to come",
        "signing.ended": "a signing key that has ended is removed",
        "signing.none_now": "a signing key is valid now; while none is, deliveries wait",
        "project.owner": "an owner is not `nobody`, to whom released webhooks belong",
        "project.partials": "partials are a folder beside or below the project's file",
        # conditions
        "when.syntax": "a `when` is CEL",
        "when.unknown_field": "a `when` reads fields of the event schema",
        "when.unknown_name": "a `when` begins at event_type, event_time or data, and calls functions of standard CEL",
        "when.type": "an operator or function of a `when` takes the types that it is given",
        "when.not_boolean": "a `when` is true or false",
        "when.too_large": "a `when` has a largest size and a greatest depth",
        "when.newer_field": "a field that older payloads lack is asked for before it is read",
        # templates
        "template.syntax": "a template is Handlebars",
        "template.secret": "a secret stands where it can be escaped",
        "template.not_json": "a JSON body is JSON with expressions in place",
        "template.inner_json": "JSON in a string is JSON with expressions in place",
        "template.branches": "the branches of a block end in the same context of JSON",
        "template.too_large": "a template has a largest size",
        "template.too_deep": "a template has a greatest depth",
        "template.unknown_field": "a path leads to a field of the event schema",
        "template.list_without_index": "a list is addressed by index",
        "template.not_an_object": "a path goes on only from objects and lists",
        "template.not_a_list": "#each goes through a list or an object",
        "template.outside": "a path begins at what there is",
        "template.newer_field": "a field that older payloads lack is asked for before it is used",
        "template.unknown_helper": "a helper, block or variable is one of those known",
        "template.arguments": "a helper or block has the arguments it needs, and no others",
        "template.unknown_partial": "a partial is defined in the template or in the partials folder",
        "template.render": "a body can be made of every built-in event, and is JSON where it should be",
        "template.bad_leaf": "a leaf of a mapping body is a value that JSON has",
    }
)
