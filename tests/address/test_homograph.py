"""Names that are read as another name."""

import pytest

from reconciler.models.homograph import judge_homograph


def punycode(name: str) -> str:
    """As a manifest has to write it."""
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in name.split(".")
    )


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("\u0430\u0440\u0440\u04cf\u0435.com", "Cyrillic letters that look like Latin ones"),  # apple
        ("okt\u0430.com", "letters of Cyrillic and Latin in one label"),
        ("hooks.p\u0430ypal.example", "letters of Cyrillic and Latin in one label"),
        ("\u03bf\u03ba\u03c4\u03b1.com", "Greek letters that look like Latin ones"),
    ],
)
def test_a_name_that_looks_like_another_is_told(name: str, fact: str) -> None:
    """What is reviewed must be what is reached."""
    host = punycode(name)

    assert judge_homograph(host) == f"{fact}: {next(label for label in host.split('.') if label.startswith('xn--'))}"


@pytest.mark.parametrize("host", ["xn--\x80.com".replace("\x80", "99999999999"), "xn--okta-.com"])
def test_what_is_no_international_label_is_told(host: str) -> None:
    """It means nothing, or the same as without it."""
    assert judge_homograph(host) is not None


@pytest.mark.parametrize(
    "name",
    ["example.com", "b\u00fccher.example", "\u043f\u0440\u0438\u043c\u0435\u0440.example", "\u4f8b\u3048.example"],
)
def test_a_name_in_its_own_script_is_fine(name: str) -> None:
    """Most of the world writes so."""
    assert judge_homograph(punycode(name)) is None
