"""Spoil good input: bytes, texts and nested values, with the numbers and words that break readers."""

import json
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (0, -1, 1, 2, 255, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 10**30, 0.5, -0.0, 1e-320, 1e308,
           float("nan"), float("inf"), float("-inf"))  # fmt: skip
TEXTS = (
    "", " ", ".", "..", "~", "-", "0", "-1", "nan", "1e999", "true", "null", "a", "toybox", "sds", "#", '"', "'''",
    "../../guard/secret.txt", "/etc/passwd", "C:\\a.png", "\\\\host\\share", "file:///etc/passwd", "%2e%2e%2f",
    "http://127.0.0.1:1/a.png", "CON", "\0", "\x1b[2J", "\u202e", "\ud800", "\N{ZERO WIDTH SPACE}", "\n", "\r\n", "\t",
    "<script>x</script>", "{{7*7}}${7*7}", "a" * 5000, "[" * 3000, "{" * 3000, "--set", "--seed=-1", "=1+1",
)  # fmt: skip
"Half a surrogate pair, control characters, paths that lead away, markup, and texts that are too long or too deep."


def spoiled_bytes(random: Random, content: bytes) -> bytes:
    """A few random changes of a binary file."""
    data = bytearray(content)
    for _ in range(_few(random)):
        at = random.randrange(len(data) + 1)
        random.choice(_BYTES)(random, data, at)
    return bytes(data)


def spoiled_text(random: Random, text: str) -> str:
    """A few random changes of a text: its numbers, words and lines."""
    for _ in range(_few(random)):
        text = random.choice(_TEXT)(random, text)
    return text


def spoiled_tree(random: Random, value: Any) -> Any:
    """A deep copy of a nested value with a few of its entries replaced, moved, removed or doubled."""
    value = _copy(value)
    for _ in range(_few(random)):
        places = list(_places(value))
        if not places:
            return random_value(random)
        holder, key = random.choice(places)
        deed = random.randrange(4)
        if deed == 0:
            del holder[key]
        elif deed == 1:
            other, where = random.choice(places)
            holder[key] = _copy(other[where])
        elif deed == 2 and isinstance(holder, dict):
            holder[random.choice(TEXTS)] = holder[key]
        else:
            holder[key] = random_value(random)
    return value


def random_value(random: Random, depth: int = 2) -> Any:
    """Any value that JSON and TOML can say."""
    kind = random.randrange(6 if depth else 4)
    if kind <= 1:
        return random.choice(NUMBERS) if kind else random.choice(TEXTS)
    if kind <= 3:
        return random.choice((True, False, random.randrange(-9, 999), random.uniform(-2, 2)))
    inner = [random_value(random, depth - 1) for _ in range(random.randrange(4))]
    return inner if kind == 4 else {random.choice(("type", "start", "end", "x", *TEXTS)): entry for entry in inner}


def spoiled_glb(random: Random, content: bytes) -> bytes:
    """A binary glTF whose document says something else, with lengths that are right; or with spoiled bytes."""
    if random.random() < 0.4:
        return spoiled_bytes(random, content)
    length = struct.unpack_from("<I", content, 12)[0]
    text = json.dumps(spoiled_tree(random, json.loads(content[20 : 20 + length]))).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text + content[20 + length :]
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


def _few(random: Random) -> int:
    return min(1 + int(random.expovariate(0.7)), 12)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list | tuple) else value


def _places(value: Any):
    """Every (holder, key) of a nested value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def _flip(random: Random, data: bytearray, at: int) -> None:
    if at < len(data):
        data[at] ^= 1 << random.randrange(8)


def _word(random: Random, data: bytearray, at: int) -> None:
    number = random.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FC00000, 0x7F800000, len(data)))
    data[at : at + 4] = struct.pack("<I", number)


def _cut(random: Random, data: bytearray, at: int) -> None:
    del data[at : at + random.choice((1, 4, 17, 10**9))]


def _double(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + random.randrange(64)]


def _insert(random: Random, data: bytearray, at: int) -> None:
    data[at:at] = random.randbytes(random.randrange(1, 9))


def _other_number(random: Random, text: str) -> str:
    return _replaced(random, text, r"-?\d+(?:\.\d+)?(?:e-?\d+)?", lambda: str(random.choice(NUMBERS)))


def _other_word(random: Random, text: str) -> str:
    return _replaced(random, text, r"[\w.]+", lambda: random.choice(TEXTS))


def _other_mark(random: Random, text: str) -> str:
    return _replaced(random, text, r"[^\w\s]", lambda: random.choice("[]{}()=,;:'\"\\/#-\0"))


def _replaced(random: Random, text: str, pattern: str, made: Callable[[], str]) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text + made()
    place = random.choice(found)
    return text[: place.start()] + made() + text[place.end() :]


def _lines(random: Random, text: str) -> str:
    lines = text.split("\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    deed = random.randrange(3)
    if deed == 0:
        del lines[at]
    elif deed == 1:
        lines.insert(at, lines[other])
    else:
        lines[at] += random.choice(TEXTS)
    return "\n".join(lines)


def _characters(random: Random, text: str) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(("", chr(random.randrange(0x110000)))) + text[at + random.randrange(3) :]


_BYTES = (_flip, _word, _cut, _double, _insert)
_TEXT = (_other_number, _other_word, _other_mark, _lines, _characters)
