"""The space in which demo pictures and texts meet: colours, and what words mean in them.

A picture is a histogram over `SHADES`; a word is a list of preferences among them. No word, no preference.
"""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

TONES = ("dark", "middle", "light")
HUES: dict[str, dict[str, tuple[int, int, int]]] = {
    "black": {"dark": (8, 8, 10)},
    "gray": {"dark": (66, 66, 66), "middle": (128, 128, 128), "light": (196, 196, 196)},
    "white": {"light": (250, 250, 250)},
    "red": {"dark": (112, 10, 18), "middle": (215, 25, 32), "light": (240, 112, 106)},
    "orange": {"middle": (240, 128, 20), "light": (252, 184, 104)},
    "brown": {"dark": (62, 36, 18), "middle": (122, 76, 38), "light": (172, 128, 84)},
    "beige": {"light": (228, 206, 166)},
    "yellow": {"dark": (132, 118, 16), "middle": (244, 214, 20), "light": (252, 242, 136)},
    "green": {"dark": (16, 66, 28), "middle": (36, 148, 52), "light": (142, 214, 130)},
    "turquoise": {"dark": (6, 84, 90), "middle": (22, 172, 178), "light": (152, 226, 224)},
    "blue": {"dark": (14, 24, 92), "middle": (32, 82, 210), "light": (132, 186, 240)},
    "purple": {"dark": (64, 16, 94), "middle": (136, 46, 172), "light": (190, 150, 222)},
    "pink": {"dark": (150, 20, 90), "middle": (236, 82, 160), "light": (250, 182, 206)},
}
"""Each hue's tones, and the colour in the middle of each, 0..255."""


class Shade(NamedTuple):
    """One axis of the space: a colour's name, one of `TONES`, and the colour in its middle."""

    hue: str
    tone: str
    rgb: tuple[int, int, int]


SHADES = tuple(Shade(hue, tone, rgb) for hue, tones in HUES.items() for tone, rgb in tones.items())

COLORS = {
    "black": "black schwarz noir negro",
    "gray": "gray grey silver grau gris",
    "white": "white weiß weiss blanc blanche blanco blanca",
    "red": "red scarlet crimson ruby rot rouge rojo roja",
    "orange": "orange naranja",
    "brown": "brown braun marron brun marrón",
    "beige": "beige cream ivory creme",
    "yellow": "yellow golden gold gelb jaune doré amarillo amarilla dorado",
    "green": "green emerald grün vert verte verde",
    "turquoise": "turquoise cyan teal türkis turquesa",
    "blue": "blue azure navy blau bleu bleue azul",
    "purple": "purple violet lilac lila violett violeta morado",
    "pink": "pink magenta rosa rose",
}
DARK = "dark dim gloomy dunkel dunkle dunkler dunkles finster sombre foncé foncée oscuro oscura"
LIGHT = "light pale pastel hell helle heller helles blass clair claire pâle claro clara pálido"


# "green" prefers all greens, "dark green" that shade alone; a number is the logarithm of how much.
SCENES = {
    "bright sunny brilliant leuchtend sonnig lumineux ensoleillé brillante soleado": ", ".join(
        f"{tone} {hue} {3 if tone == 'light' else 2}"
        for hue, tone, _ in SHADES
        if tone == "light" or (tone == "middle" and hue != "gray")
    ),
    "colorful colourful rainbow vivid bunt farbenfroh regenbogen coloré multicolore colorido arcoíris": ", ".join(
        f"middle {hue} 5" for hue, tone, _ in SHADES if tone == "middle" and hue not in ("gray", "brown")
    ),
    "monochrome grayscale": "black 5, gray 5, white 5",
    "sunset sunrise dusk dawn evening abend soir sonnenuntergang crépuscule atardecer amanecer":
        "orange 5, red 4, light yellow 3, dark purple 3, dark red 4, pink 2",
    "fire flame lava feuer feu fuego": "orange 5, red 4, yellow 3, black 3",
    "forest tree trees jungle wald bäume forêt arbre bosque árbol": "dark green 5, green 4, dark brown 3",
    "grass meadow lawn leaf leaves wiese gras blatt herbe prairie hierba prado": "green 5, light green 4",
    "night midnight nacht nuit noche": "black 5, dark blue 5, dark purple 2, dark gray 2",
    "stars galaxy space sterne étoiles estrellas": "black 5, dark blue 3",
    "sky himmel ciel cielo": "light blue 5, blue 3.5, white 2",
    "sea ocean lake water underwater meer see wasser mer océan eau mar agua": "blue 5, turquoise 5",
    "beach sand desert dune strand wüste plage désert sable playa desierto arena": "beige 5, light brown 4",
    "snow winter ice schnee eis neige hiver nieve invierno": "white 5.5, light gray 4, light blue 3",
    "fog mist cloud clouds rain stone concrete road nebel wolken brouillard nuages niebla nubes": "gray 5",
    "wood coffee chocolate bread holz kaffee schokolade bois café chocolat madera": "brown 5, dark brown 5",
    "strawberry tomato cherry blood erdbeere tomate kirsche fraise cerise fresa cereza": "red 5, green 1.5",
    "lemon banana sunflower zitrone banane sonnenblume citron tournesol limón plátano girasol": "yellow 5",
    "carrot pumpkin mandarin karotte kürbis carotte citrouille zanahoria calabaza": "orange 5.5",
    "lavender grape plum lavendel traube lavande raisin lavanda uva": "purple 5.5, green 1",
    "flamingo blossom pig blüte flamant flamenco": "pink 5.5",
}  # fmt: skip


def word_vectors() -> dict[str, Vector]:
    """Preferences (number of shades,) of every word, lower-case; alphabetical.

    Colours have German endings and compounds too: dunkelgrün, hellblaue.
    """
    compounds = {"": np.zeros(len(SHADES), np.float32), "dunkel": _tone("dark"), "hell": _tone("light")}
    vectors = {
        prefix + word + ending: _vector({hue: 5.0}) + aside
        for hue, words in COLORS.items()
        for word, (prefix, aside), ending in product(
            words.split(), compounds.items(), ("", "e", "er", "es", "en", "s")
        )
    }
    vectors |= dict.fromkeys(DARK.split(), _tone("dark")) | dict.fromkeys(LIGHT.split(), _tone("light"))
    for words, text in SCENES.items():
        preferences = (each.rsplit(" ", 1) for each in text.split(", "))
        vectors |= dict.fromkeys(words.split(), _vector({name: float(much) for name, much in preferences}))
    return dict(sorted(vectors.items()))


def _tone(tone: str) -> Vector:
    distance = [abs(TONES.index(shade.tone) - TONES.index(tone)) for shade in SHADES]
    return np.array([3.0, 0.0, -2.0], np.float32)[distance]


def _vector(preferences: Mapping[str, float]) -> Vector:
    """One number a shade: that of the shade itself, or of its hue, which stands first for its middle tone."""
    vector = np.zeros(len(SHADES), np.float32)
    for i, (hue, tone, _) in enumerate(SHADES):
        of_hue = preferences.get(hue, 0.0)
        aside = 0.5 if of_hue and tone != "middle" else 0.0
        vector[i] = preferences.get(f"{tone} {hue}", of_hue - aside)
    return vector
