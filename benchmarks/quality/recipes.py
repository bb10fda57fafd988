"""An asset by every recipe for the prior in the box: `python benchmarks/quality/recipes.py [--out outputs/recipes]`.

The same prompt and seed for all; those that edit, or paint anew, turn the run of the plain recipe from red to blue.
Runs that are finished already are kept, so the command can be stopped and called again. Writes a contact sheet and a
table to docs/results/.
"""

import argparse
import platform
from pathlib import Path

from runs import RESULTS, contact_sheet, head, judge, make, metrics, row

from dreamkit.recipe import load_recipe
from dreamkit.recipe_file import names

PROMPT, WISH, SOURCE = "a red mug", "a blue mug", "toybox"
COLUMNS = {
    "kind": "judge_kind", "colour": "judge_color", "saturation": "judge_saturation", "IoU": "judge_volume_iou",
    "Chamfer": "judge_chamfer", "mesh PSNR (dB)": "mesh_psnr_median", "steps": "steps",
}  # fmt: skip
HEAD = """# An asset by every method

`python benchmarks/quality/recipes.py`: "{prompt}", seed {seed}, each recipe for the prior in the box as it is shipped;
edits turn the first one into "{wish}". {machine}, CPU, one run at a time. The judge looks at eight views of asset.glb.
Seconds are of everything, on a machine with other work.

"""


def recipes() -> list[str]:
    """The plain one first: edits start from it."""
    return [SOURCE, *(name for name in names() if name.startswith(f"{SOURCE}-"))]


def asset(name: str, out: Path, seed: int) -> Path:
    """The folder of the recipe's run, made where it is not finished."""
    recipe = load_recipe(name)
    source = ["--set", f"edit.run='{out / SOURCE}'"] if recipe.edit is not None else []
    source += ["--source", str(out / SOURCE)] if recipe.source is not None else []
    make(out / name, WISH if source else PROMPT, ["--recipe", name, "--seed", str(seed), *source])
    return out / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/recipes"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", nargs="+", default=recipes(), choices=recipes(), metavar="RECIPE")
    parser.add_argument("--finished", action="store_true", help="make none: report on those that are finished")
    options = parser.parse_args()
    wanted = [n for n in options.recipes if not options.finished or (options.out / n / "metrics.json").exists()]
    runs = {name: asset(name, options.out, options.seed) for name in wanted}
    judge([folder for folder in runs.values() if "judge_kind" not in metrics(folder)])
    contact_sheet(runs, RESULTS / "recipes.png")
    lines = head("recipe", list(COLUMNS)) + [row(n, metrics(f), list(COLUMNS.values())) for n, f in runs.items()]
    top = HEAD.format(prompt=PROMPT, wish=WISH, seed=options.seed, machine=platform.machine())
    # What was written below the sheet by hand stays.
    path, sheet = RESULTS / "recipes.md", "![contact sheet](recipes.png)"
    tail = path.read_text(encoding="utf-8").partition(sheet)[2] if path.exists() else "\n"
    path.write_text(top + "\n".join(lines) + f"\n\n{sheet}{tail}", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
