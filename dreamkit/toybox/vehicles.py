"""Toy vehicles and buildings; what has a front turns it to +Z."""

from dreamkit.toybox.shapes import Part, ball, box, cone, mirrored, tube, turned


def _wheels(x: float, y: float, radius: float, places: tuple[float, ...]) -> list[Part]:
    """Pairs of wheels at the places along Z."""
    pairs = [
        (
            tube(radius, 0.2, (x, y, z), "black", (0, 0, 90)),
            tube(radius * 0.5, 0.04, (x + 0.1, y, z), "steel", (0, 0, 90)),
        )
        for z in places
    ]
    return mirrored(*[part for pair in pairs for part in pair])


def car() -> list[Part]:
    return [
        box((0.95, 0.42, 2.0), (0, -0.2, 0)),
        box((0.82, 0.4, 0.95), (0, 0.2, -0.2)),
        box((0.7, 0.28, 0.04), (0, 0.2, 0.29), "glass", (-8, 0, 0)),
        box((0.7, 0.26, 0.04), (0, 0.21, -0.68), "glass"),
        *mirrored(
            box((0.04, 0.24, 0.72), (0.41, 0.22, -0.2), "glass"),
            ball((0.13, 0.11, 0.06), (0.3, -0.12, 1.0), "yellow"),
            box((0.18, 0.1, 0.04), (0.32, -0.12, -1.0), "red"),
        ),
        box((0.36, 0.14, 0.04), (0, -0.22, 1.0), "black"),
        *_wheels(0.46, -0.42, 0.25, (0.6, -0.6)),
    ]


def bus() -> list[Part]:
    return [
        box((0.85, 0.95, 2.1), (0, 0.1, 0)),
        box((0.7, 0.4, 0.04), (0, 0.26, 1.05), "glass"),
        box((0.6, 0.16, 0.04), (0, -0.16, 1.05), "white"),
        box((0.6, 0.3, 0.04), (0, 0.3, -1.05), "glass"),
        *mirrored(
            *[box((0.04, 0.34, 0.4), (0.42, 0.28, z), "glass") for z in (-0.72, -0.24, 0.24, 0.72)],
            ball((0.1, 0.09, 0.05), (0.28, -0.16, 1.06), "yellow"),
            box((0.12, 0.1, 0.04), (0.3, -0.2, -1.05), "red"),
        ),
        *_wheels(0.4, -0.42, 0.22, (0.65, -0.65)),
    ]


def train() -> list[Part]:
    return [
        tube(0.36, 1.2, (0, 0.05, 0.4), turn=(90, 0, 0)),
        tube(0.3, 0.06, (0, 0.05, 1.02), "steel", (90, 0, 0)),
        ball((0.12, 0.12, 0.07), (0, 0.05, 1.06), "yellow"),
        box((0.85, 1.0, 0.75), (0, 0.25, -0.6)),
        box((1.0, 0.1, 0.95), (0, 0.8, -0.6), "black"),
        turned([(0, 0), (0.11, 0), (0.2, 0.4), (0, 0.4)], (0, 0.38, 0.72), "black"),
        box((0.8, 0.2, 1.9), (0, -0.36, 0.05), "black"),
        cone(0.34, 0.36, (0, -0.42, 0.95), "red", (90, 0, 0)),
        *mirrored(box((0.04, 0.3, 0.4), (0.42, 0.42, -0.6), "glass")),
        *_wheels(0.4, -0.5, 0.25, (0.6, 0.05, -0.6)),
    ]


def airplane() -> list[Part]:
    return [
        ball((0.28, 0.28, 1.1), (0, 0, 0)),
        ball((0.2, 0.14, 0.24), (0, 0.18, 0.55), "glass"),
        ball((0.16, 0.16, 0.12), (0, 0, 1.05), "black"),
        box((0.9, 0.12, 0.06), (0, 0, 1.12), "wood", (0, 0, 30)),
        box((2.1, 0.08, 0.5), (0, 0.02, 0.2)),
        box((0.85, 0.07, 0.28), (0, 0.08, -0.9)),
        box((0.07, 0.5, 0.32), (0, 0.3, -0.92)),
    ]


def rocket() -> list[Part]:
    fins = [
        box((0.06, 0.5, 0.42), (0.42 * x, -0.75, 0.42 * z), "red", (0, turn, 0))
        for x, z, turn in ((0.8, 0.8, 45), (-0.8, 0.8, -45), (0.8, -0.8, -45), (-0.8, -0.8, 45))
    ]
    return [
        turned([(0, -0.8), (0.3, -0.8), (0.4, -0.2), (0.36, 0.4), (0, 0.4)], (0, 0, 0)),
        turned([(0, 0.38), (0.36, 0.38), (0.22, 0.85), (0, 1.15)], (0, 0, 0), "red"),
        tube(0.16, 0.1, (0, 0.1, 0.36), "glass", (90, 0, 0)),
        cone(0.24, -0.3, (0, -0.75, 0), "steel"),
        *fins,
    ]


def house() -> list[Part]:
    roof = turned([(0, 0), (1.0, 0), (0, 0.7)], (0, 0.3, 0), "brick")
    return [
        box((1.3, 0.95, 1.2), (0, -0.2, 0)),
        roof,
        box((0.3, 0.55, 0.05), (0, -0.4, 0.6), "wood"),
        ball(0.035, (0.09, -0.4, 0.64), "yellow"),
        *mirrored(box((0.28, 0.28, 0.05), (0.42, -0.1, 0.6), "glass")),
        box((0.2, 0.5, 0.2), (0.42, 0.75, -0.3), "brick"),
    ]


def castle() -> list[Part]:
    towers = [(x, z) for x in (-0.6, 0.6) for z in (-0.6, 0.6)]
    return [
        box((1.2, 0.8, 1.2), (0, -0.3, 0)),
        *[tube(0.26, 1.3, (x, -0.05, z)) for x, z in towers],
        *[cone(0.34, 0.5, (x, 0.6, z), "brick") for x, z in towers],
        box((0.36, 0.55, 0.06), (0, -0.44, 0.6), "wood"),
        tube(0.18, 0.06, (0, -0.17, 0.6), "wood", (90, 0, 0)),
        *[box((0.2, 0.18, 0.14), (x, 0.16, z)) for x in (-0.22, 0.22) for z in (-0.55, 0.55)],
    ]


def lighthouse() -> list[Part]:
    return [
        turned([(0, -0.9), (0.42, -0.9), (0.26, 0.45), (0, 0.45)], (0, 0, 0)),
        tube(0.55, 0.16, (0, -0.95, 0), "stone"),
        tube(0.36, 0.07, (0, 0.48, 0), "black"),
        tube(0.2, 0.34, (0, 0.66, 0), "yellow"),
        cone(0.32, 0.34, (0, 0.82, 0), "red"),
        box((0.2, 0.34, 0.1), (0, -0.68, 0.38), "wood"),
    ]
