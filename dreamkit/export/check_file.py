"""Look at a 3D file before it is read: is it whole, is it as large as it claims, does it stay in its folder?

A parser that trusts a header allocates what the header claims, and a material may name any file of the machine. These
checks read no more than headers (and the lines of text formats), so they cost no memory.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from dreamkit.names import existing

LARGEST = 50_000_000
"Vertices, indices or faces of one array; a mesh of this size takes some 2 GB."
_SIZES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_PARTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_PLY_SIZES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "float", "int32", "uint32", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


class DamagedFile(ValueError):
    """A 3D file is cut short, contradicts itself or reaches outside its folder; the message says where."""


def check_file(path: Path) -> None:
    """Raise DamagedFile for a GLB, glTF, OBJ (and its MTL), PLY, STL or OFF file that must not be read.

    Refused: files that end before their headers say, counts beyond the file's own size or beyond 50 million, and
    references to absolute paths, to parent folders or to addresses. Raises FileNotFoundError where there is no file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    checks = {".glb": _check_glb, ".gltf": _check_gltf, ".obj": _check_obj, ".ply": _check_ply, ".stl": _check_stl}
    check = checks.get(path.suffix.lower())
    try:
        if check is not None:
            check(path)
    except DamagedFile:
        raise
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"{path.name} is damaged: its header cannot be read ({error})") from error


def companions(path: Path) -> tuple[Path, ...]:
    """The other files that a glTF or OBJ file is made of (buffers, images, materials), as far as they are there.

    Raises what `check_file` raises.
    """
    check_file(path)
    if path.suffix.lower() == ".gltf":
        named = _outside(json.loads(path.read_bytes()))
        return _there(path.parent, named)
    if path.suffix.lower() != ".obj":
        return ()
    libraries = _there(path.parent, _libraries(path))
    return (*libraries, *(image for library in libraries for image in _there(path.parent, _images(library))))


def _there(folder: Path, named: Iterable[str]) -> tuple[Path, ...]:
    found = (existing(str(folder / name)) for name in named)
    return tuple(path for path in found if path is not None and path.is_file())


def _check_glb(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        magic, version, total = struct.unpack("<4sII", file.read(12))
        if magic != b"glTF" or version != 2:
            raise DamagedFile(f"{path.name} is no binary glTF 2.0 file; it begins with {magic!r}, version {version}")
        if total > size:
            raise DamagedFile(f"{path.name} is cut short: it says {total} bytes, and has {size}")
        length, kind = struct.unpack("<I4s", file.read(8))
        if kind != b"JSON" or 20 + length > size:
            raise DamagedFile(
                f"{path.name} is damaged: its first part should be JSON of {length} bytes within the file"
            )
        document = json.loads(file.read(length))
        header = file.read(8)
    binary = struct.unpack("<I4s", header)[0] if len(header) == 8 else 0
    if 28 + length + binary > size and binary:
        raise DamagedFile(
            f"{path.name} is cut short: its data should be {binary} bytes, {size - 28 - length} are there"
        )
    _check_document(path, document, binary)


def _check_gltf(path: Path) -> None:
    _check_document(path, json.loads(path.read_bytes()), 0)


def _check_document(path: Path, document: dict[str, Any], binary: int) -> None:
    """The arrays of a glTF lie in their views, the views in their buffers, and the buffers in files beside it."""
    buffers = document.get("buffers", [])
    for name in _outside(document):
        _check_reference(path, name)
    views = document.get("bufferViews", [])
    for number, view in enumerate(views):
        buffer = buffers[view["buffer"]]
        room = buffer["byteLength"] if "uri" in buffer else min(buffer["byteLength"], binary)
        if view.get("byteOffset", 0) + view["byteLength"] > room:
            raise DamagedFile(f"{path.name} is damaged: bufferViews[{number}] reaches beyond its buffer's {room} bytes")
    for number, accessor in enumerate(document.get("accessors", [])):
        count, item = accessor["count"], _SIZES[accessor["componentType"]] * _PARTS[accessor["type"]]
        _check_count(path, f"accessors[{number}]", count)
        if "bufferView" in accessor:
            view = views[accessor["bufferView"]]
            needed = accessor.get("byteOffset", 0) + (count - 1) * view.get("byteStride", item) + item
            if count and needed > view["byteLength"]:
                raise DamagedFile(
                    f"{path.name} is damaged: accessors[{number}] claims {count} values, {needed} bytes, of a view of "
                    f"{view['byteLength']}"
                )


def _outside(document: dict[str, Any]) -> Iterator[str]:
    """The files that a glTF names."""
    for entry in (*document.get("buffers", []), *document.get("images", [])):
        if "uri" in entry and not entry["uri"].startswith("data:"):
            yield entry["uri"]


def _check_obj(path: Path) -> None:
    for name in _libraries(path):
        _check_reference(path, name)
        for material in _there(path.parent, [name]):
            for image in _images(material):
                _check_reference(material, image)


def _libraries(path: Path) -> Iterator[str]:
    """The material files that an OBJ names."""
    for line in _lines(path):
        if line.startswith("mtllib "):
            yield line[7:].strip()


def _images(path: Path) -> Iterator[str]:
    """The images that a material file names."""
    for line in _lines(path):
        words = line.split()
        if words and words[0].lower().startswith(("map_", "bump", "disp", "decal", "norm", "refl")):
            yield words[-1]


def _check_ply(path: Path) -> None:
    size, text, needed = path.stat().st_size, False, 0
    count, width = 0, 0
    with path.open("rb") as file:
        if file.readline(16).strip() != b"ply":
            raise DamagedFile(f"{path.name} is no PLY file: it does not begin with 'ply'")
        while (words := file.readline(4096).decode("ascii").split()) != ["end_header"]:
            if not words or file.tell() > 1 << 16:
                raise DamagedFile(f"{path.name} is damaged: its header has no end")
            if words[0] == "format":
                text = words[1] == "ascii"
            elif words[0] == "element":
                needed, count, width = needed + count * width, int(words[2]), 0
                _check_count(path, f"element {words[1]}", count)
            elif words[0] == "property":
                # The least that a value takes: a list has at least its length; a number in text, a digit and a space.
                width += 2 if text else _PLY_SIZES[words[2] if words[1] == "list" else words[1]]
        needed += count * width + file.tell()
    if needed > size + text:
        raise DamagedFile(f"{path.name} is cut short: its header claims at least {needed} bytes, and it has {size}")


def _check_stl(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(84)
    if head[:5] == b"solid":
        return  # Text: it holds what it holds.
    (faces,) = struct.unpack_from("<I", head, 80)
    if 84 + 50 * faces > path.stat().st_size:
        raise DamagedFile(f"{path.name} is cut short: it claims {faces} triangles, {84 + 50 * faces} bytes, and has "
                          f"{path.stat().st_size}")  # fmt: skip


def _check_count(path: Path, what: str, count: int) -> None:
    if not 0 <= count <= LARGEST:
        raise DamagedFile(f"{path.name}: {what} claims {count} entries; at most {LARGEST} are read")


def _check_reference(path: Path, name: str) -> None:
    """A file that another one names must lie beside it or below."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if "://" in name or parts.is_absolute() or PureWindowsPath(name).drive or ".." in parts.parts:
        raise DamagedFile(
            f"{path.name} names {name!r}, which lies outside its folder; such files are not read. Put the file beside "
            f"{path.name} and name it there"
        )


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        # Lines of a broken file may be as long as the file; pieces of them are as good for these checks.
        while line := file.readline(1 << 16):
            yield line
