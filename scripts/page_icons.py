"""Draws the icons of the page, a head with a cat's ear and a dog's: as SVG, and as PNGs for home screens."""

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).resolve().parents[1] / "catdog_cli" / "page" / "files" / "icons"
BLUE, WHITE, SOFT = "#0b57d0", "#ffffff", "#c9dcfb"
SHAPES = (  # in a square of 100: a polygon's corners, or the middle and radii of an ellipse
    ("polygon", WHITE, (24, 54, 27, 17, 52, 36)),
    ("ellipse", WHITE, (50, 57, 30, 26)),
    ("polygon", BLUE, (31, 40, 32, 26, 42, 33)),
    ("ellipse", SOFT, (77, 53, 10, 22)),
    ("ellipse", BLUE, (39, 53, 4, 5)),
    ("ellipse", BLUE, (61, 53, 4, 5)),
    ("ellipse", BLUE, (50, 67, 6, 4)),
)
ROUND = 22  # radius of the corners; home screens round those that are asked for as maskable
SCALE = 8


def draw_png(side: int, corners: int, zoom: float) -> Image.Image:
    """Return the icon, `side` px wide, what it shows at `zoom` of its size."""
    full = side * SCALE
    image = Image.new("RGBA", (full, full), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, full - 1, full - 1), corners / 100 * full, BLUE)

    def place(value: float) -> float:
        return (50 + (value - 50) * zoom) / 100 * full

    for kind, colour, numbers in SHAPES:
        if kind == "polygon":
            draw.polygon([place(value) for value in numbers], colour)
        else:
            x, y, wide, high = numbers
            draw.ellipse(tuple(map(place, (x - wide, y - high, x + wide, y + high))), colour)
    return image.resize((side, side), Image.Resampling.BOX)


def write_svg() -> str:
    """Return the icon as SVG."""
    parts = [f'<rect width="100" height="100" rx="{ROUND}" fill="{BLUE}"/>']
    for kind, colour, numbers in SHAPES:
        if kind == "polygon":
            parts.append(f'<polygon points="{" ".join(map(str, numbers))}" fill="{colour}"/>')
        else:
            x, y, wide, high = numbers
            parts.append(f'<ellipse cx="{x}" cy="{y}" rx="{wide}" ry="{high}" fill="{colour}"/>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "icon.svg").write_text(write_svg(), encoding="utf-8")
    for name, side, corners, zoom in (
        *((f"icon-{side}", side, ROUND, 1.0) for side in (192, 512)),
        ("maskable-512", 512, 0, 0.8),
        ("apple-touch-icon", 180, 0, 0.9),
    ):
        draw_png(side, corners, zoom).save(FOLDER / f"{name}.png", optimize=True)
