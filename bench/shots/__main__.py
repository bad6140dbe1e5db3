"""Takes the console's pictures, as `make shots`."""

import asyncio
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cairosvg  # type: ignore[import-untyped]
import typer
from PIL import Image

from bench.shots import scene
from bench.shots.camera import look
from bench.shots.key_card import key_card
from bench.shots.takes import COMPARED, SHOWN, TAKES

_ROOT = Path(__file__).parents[2]
_SCALE = 13 / 12.2  # Cells of whole pixels: a font's widths are rounded to such.
_COLOURS = 96


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all without it.")] = None,
    out: Annotated[Path, typer.Option(help="For the pictures of the docs.")] = _ROOT
    / "docs"
    / "images",
    rest: Annotated[Path, typer.Option(help="For all others.")] = _ROOT / "build" / "shots",
) -> None:
    """Write each picture as .txt and .png."""
    out.mkdir(parents=True, exist_ok=True)
    rest.mkdir(parents=True, exist_ok=True)
    if not names:
        (out.parent / "console-keys.md").write_text(key_card(), "utf-8")
    failed = 0
    with TemporaryDirectory(prefix="taskplane-shots-") as directory:
        for name in names or TAKES:
            take = TAKES[name]
            recording = scene.write(Path(directory) / f"{take.kind}.jsonl", take.kind)
            try:
                picture = asyncio.run(look(take, recording))
            except Exception as error:  # noqa: BLE001 - the other pictures are worth having.
                failed += 1
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            text = (out if name in COMPARED else rest) / f"{name}.txt"
            text.write_text(picture.text, "utf-8")
            image = (out if name in SHOWN else rest) / f"{name}.png"
            drawn = cairosvg.svg2png(bytestring=picture.svg.encode(), scale=_SCALE)
            # So many colours are enough, and a third of the bytes.
            painted = Image.open(BytesIO(drawn)).convert("RGB")
            painted.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE).save(image, optimize=True)
            print(image)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
