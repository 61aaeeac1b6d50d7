"""What is known of things by their names: how large they are, roughly, whether they stand, swim or fly, and whether one
sees through them somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Footing(StrEnum):
    """Where a thing rests: on the ground or the water, in the water, high up, or nowhere, as signs and faces do."""

    STANDS = "stands"
    SWIMS = "swims"
    FLIES = "flies"
    NOWHERE = "nowhere"


_SIZES = (  # from the size of a coin to that of a house; names of each are divided by commas
    "ant, bee, blueberries, bone, butterfly, candy, caterpillar, cherries, cherry, clover, coin, crayon, dice, drop"
    " of water, egg, four leaf clover, garlic, gem, herb, ice cube, key, ladybug, lipstick, maple leaf, peanuts,"
    " pencil, pill, ring, seashell, seedling, shell, shrimp, snail, spider, sprout, strawberry, tooth, water drop",
    "alarm clock, apple, aubergine, avocado, baby chick, bacon, ball of yarn, banana, baseball, bat, battery, beer,"
    " bell, bell pepper, bird, book, boot, bouquet of flowers, bow, bowl of ice cream, bowl of noodles, bowl of"
    " rice, bread, broccoli, bucket, bunny, burger, burrito, cake, camera, candle, cap, carrot, cheese, chick,"
    " chicken leg, chili pepper, chipmunk, chocolate, chocolate bar, cocktail, coconut, coffee, computer mouse,"
    " cookie, corn, crab, croissant, crown, crystal ball, cucumber, cup of coffee, cup of tea, cupcake, dagger,"
    " donut, doughnut, dove, drink with a straw, drumstick, eggplant, envelope, fish, flashlight, flower, flowers,"
    " french fries, fried egg, fries, frog, game controller, glass of milk, glass of wine, glasses, gloves, grapes,"
    " green apple, hamburger, hammer, hamster, handbag, hat, headphones, hedgehog, hibiscus, high heel, honey, honey"
    " pot, hot dog, hot pepper, hourglass, ice cream, ice cream cone, jack-o-lantern, kiwi, knife, lantern, lemon,"
    " letter, light bulb, loaf of bread, lock, lollipop, magnet, mango, medal, melon, microphone, milk, mobile"
    " phone, mouse, mug of beer, mushroom, noodles, onion, orange, orange fruit, padlock, paintbrush, pancakes,"
    " pasta, peach, pear, phone, pie, pineapple, pink flower, pizza, popcorn, potato, pretzel, pufferfish, pumpkin,"
    " radio, ramen, red apple, rice, rice ball, rose, salad, sandwich, scarf, scissors, screwdriver, shoe, skull,"
    " slice of cake, slice of pizza, slice of watermelon, sneaker, soap, soccer ball, socks, soda, spaghetti, spoon,"
    " squirrel, sushi, syringe, taco, tangerine, tea, teapot, teddy bear, telephone, tennis ball, tomato,"
    " toothbrush, top hat, tropical drink, tropical fish, trumpet, tulip, turtle, waffle, watch, watermelon, wine"
    " glass, wrench, yellow flower",
    "backpack, bag of money, ball, balloon, basketball, black cat, box, briefcase, broom, cactus, cat, chair,"
    " chicken, computer, desktop computer, dog, drum, duck, eagle, football, fox, ghost, gift, goat, guitar, hen,"
    " jellyfish, kite, koala, lamp, laptop, lobster, microscope, monkey, octopus, owl, package, parrot, peacock,"
    " penguin, plant, poodle, potted plant, present, printer, puzzle piece, rabbit, raccoon, rooster, saxophone,"
    " shield, shopping cart, skateboard, sloth, snake, stack of books, suitcase, sunflower, swan, sword, telescope,"
    " television, tie, trophy, turkey, tv, umbrella, violin, wheel, wolf",
    "alien, anchor, bathtub, beach umbrella, bear, bed, bicycle, bike, canoe, clown, coat, couch, cow, cowboy,"
    " deer, devil, dolphin, door, flamingo, gorilla, horse, kangaroo, ladder, lion, mailbox, monster, motorbike,"
    " motorcycle, panda, piano, pig, robot, scooter, sheep, snowman, sofa, stop sign, tent, tiger, toilet, traffic"
    " light, unicorn, warning sign, zebra",
    "ambulance, boat, bus, camel, car, car from the front, crocodile, elephant, fire truck, fountain, giraffe,"
    " hippo, hippopotamus, lorry, pickup truck, polar bear, police car, racing car, rhino, rhinoceros, shark,"
    " speedboat, suv, taxi, tractor, truck",
    "blue whale, building, castle, christmas tree, church, circus tent, cruise ship, dinosaur, dragon, factory,"
    " fast train, ferris wheel, house, house with a garden, island, locomotive, mosque, mountain, office building,"
    " palm tree, pine tree, sailboat, school, ship, snowy mountain, steam train, t-rex, train, tree, volcano, whale",
)
_SWIMMERS = (
    "blue whale, crab, dolphin, fish, jellyfish, lobster, octopus, pufferfish, seashell, shark, shell, shrimp,"
    " tropical fish, turtle, whale"
)
_FLIERS = (
    "airplane, balloon, bat, bee, butterfly, cloud, crescent moon, dove, eagle, earth, flying saucer, full moon,"
    " helicopter, kite, lightning, lightning bolt, moon, plane, planet, planet earth, rain cloud, rainbow, rocket,"
    " satellite, saturn, snowflake, star, storm cloud, sun, sun behind a cloud, sun with a face, thunder cloud, ufo"
)
_SIGNS = (
    "bomb, bow and arrow, brain, broken heart, clapping hands, crossed swords, drop of water, ear, eye, fire, flame,"
    " footprints, heart, leaves, lips, mouth, musical note, musical notes, nose, poop, red heart, smiley,"
    " speech bubble, thumbs up, water drop, wave"
)
_OPEN = (  # the ground shows in a handle or a ring, between legs or spokes, where nothing of theirs is white
    "anchor, artist palette, beach umbrella, beer, bicycle, bike, black cat, bow and arrow, bucket, camel, cat,"
    " chair, cherries, crab, cup of coffee, cup of tea, deer, dinosaur, dog, donut, doughnut, elephant, ferris"
    " wheel, flamingo, fox, gear, giraffe, glasses, gorilla, handbag, headphones, helicopter, high heel, horse,"
    " kangaroo, key, ladder, lion, lobster, lock, microscope, monkey, motorbike, motorcycle, mug of beer, musical"
    " notes, padlock, palette, palm tree, pretzel, ring, saturn, saxophone, scissors, scooter, shopping cart,"
    " teapot, telescope, trophy, trumpet, umbrella, wheel, wolf, wrench"
)
_FACES = (" face", "face with heart eyes", "face with tongue out", "smiling face with sunglasses")
_STEP, _LEAST = 0.11, 0.55


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


_LEVELS: Mapping[str, int] = {name: level for level, text in enumerate(_SIZES) for name in _split_names(text)}
_FOOTINGS: Mapping[str, Footing] = {
    **dict.fromkeys(_split_names(_SWIMMERS), Footing.SWIMS),
    **dict.fromkeys(_split_names(_FLIERS), Footing.FLIES),
    **dict.fromkeys(_split_names(_SIGNS), Footing.NOWHERE),
}
_OPEN_NAMES = frozenset(_split_names(_OPEN))


def get_footing(name: str) -> Footing:
    """Where a thing of that name, in lower case, rests; most stand."""
    return Footing.NOWHERE if name.endswith(_FACES) else _FOOTINGS.get(name, Footing.STANDS)


def has_openings(name: str) -> bool:
    """Whether what is behind a thing of that name, in lower case, can be seen somewhere inside it."""
    return name in _OPEN_NAMES


def get_relative_sizes(names: tuple[str, ...]) -> tuple[float, ...]:
    """How large things of those names are drawn beside each other, the largest 1: small ones far larger than they are,
    so that they can be seen. Things of unknown size, and those far up, count as the largest."""
    known = [_LEVELS[name] for name in names if name in _LEVELS]
    largest = max(known, default=0)
    return tuple(max(_LEAST, 1 - _STEP * (largest - _LEVELS.get(name, largest))) for name in names)
