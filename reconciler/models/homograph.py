"""Host names that are read as another name: letters of several scripts in one label, or all of them look-alikes. Pure.

Asked by `models.url`. A short list of what passes for Latin in common fonts, after Unicode's confusables (UTS 39); a
name in one script of its own is nobody's double.
"""

import unicodedata
from typing import Final

PREFIX: Final = "xn--"  # RFC 5890, section 2.3.2.1
_LOOKALIKES: Final = frozenset(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u0443\u0475\u051d\u0445"  # Cyrillic
    "\u03b1\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f2"  # Greek
    "\u0251\u0261\u0131\u0237\u0578\u057d\u0570\u0585\u0581"  # Latin a g i j, Armenian n u h o g
)


def judge_homograph(host: str) -> str | None:
    """Why a name in punycode may be read as another, as "fact: value"; None for any other name."""
    for label in host.lower().split("."):
        if not label.startswith(PREFIX):
            continue
        try:
            text = label.removeprefix(PREFIX).encode("ascii").decode("punycode")
        except UnicodeError:
            return f"a label that is no punycode: {label[:63]}"
        if text.isascii():
            return f"a label that means nothing but ASCII: {label[:63]}"
        scripts = sorted({_script(letter) for letter in text if letter.isalpha()})
        if len(scripts) > 1:
            return f"letters of {' and '.join(scripts)} in one label: {label[:63]}"
        if all(letter in _LOOKALIKES or letter in "0123456789-" for letter in text):
            return f"{scripts[0] if scripts else 'other'} letters that look like Latin ones: {label[:63]}"
    return None


def _script(letter: str) -> str:
    """The script by the letter's name, such as `Cyrillic`; those of one writing system count as one."""
    name = unicodedata.name(letter, "unnamed").split(" ")[0].split("-")[0]
    return "Han" if name in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO") else name.capitalize()
