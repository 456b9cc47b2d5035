"""English words for the things of the storybook world. A star marks a stand-in: not the same thing, the nearest one.

Targets are words of the world's vocabulary; what stands for itself is listed too.
"""

from dataclasses import dataclass

from magicgen.planning.wordlist import words_of


@dataclass(frozen=True)
class Meaning:
    """A word of the world, and whether it is only the nearest one."""

    word: str
    exact: bool = True


def _lexicon(table: dict[str, str]) -> dict[str, Meaning]:
    found: dict[str, Meaning] = {}
    for word, others in table.items():
        for name in [word, *others.split()]:
            found[name.lstrip("*")] = Meaning(word, not name.startswith("*"))
    return found


def _with_plurals(table: dict[str, Meaning]) -> dict[str, tuple[Meaning, bool]]:
    """Singular and plural forms with a flag for the plural."""
    found: dict[str, tuple[Meaning, bool]] = {}
    for name, meaning in table.items():
        found[name] = (meaning, name in ("sheep", "glasses", "spectacles") and False)
    for name, meaning in table.items():
        for plural in plurals(name):
            found.setdefault(plural, (meaning, True))
    return found


_IRREGULAR_PLURALS = {
    "mouse": "mice",
    "man": "men",
    "woman": "women",
    "wolf": "wolves",
    "child": "children",
    "goose": "geese",
    "calf": "calves",
    "elf": "elves",
    "policeman": "policemen",
    "fisherman": "fishermen",
    "sheep": "sheep",
}


def plurals(name: str) -> set[str]:
    """Plural forms of a noun."""
    if name in _IRREGULAR_PLURALS:
        return {_IRREGULAR_PLURALS[name]}
    if name.endswith(("s", "x", "ch", "sh")):
        return {name + "es"}
    if name.endswith("y") and name[-2] not in "aeiou":
        return {name[:-1] + "ies"}
    return {name + "s"}


KINDS = _with_plurals(
    _lexicon(
        {
            "fox": "vixen *jackal *coyote",
            "bear": "*beaver *badger *raccoon *walrus *moose *bison *platypus *otter",
            "rabbit": "bunny hare *kangaroo *chinchilla *guinea-pig",
            "cat": "kitten kitty tomcat *tiger *leopard *lynx *panther *cheetah *jaguar",
            "dog": "puppy hound pup doggy *wolf *hyena *seal *pony *horse *donkey *foal *deer *reindeer *zebra *camel "
            "*giraffe *unicorn",
            "mouse": "*rat *hedgehog *squirrel *hamster *mole *chipmunk *bat *porcupine *skunk *shrew *ant *spider "
            "*beetle *snail *bee *bug *ladybug",
            "pig": "piglet hog *boar",
            "lion": "lioness *dragon *griffin",
            "panda": "",
            "frog": "toad *turtle *tortoise *lizard *crocodile *alligator *snake *dinosaur *fish *salamander "
            "*chameleon *newt",
            "monkey": "ape chimp chimpanzee gorilla *sloth *koala *lemur",
            "elephant": "*hippo *hippopotamus *rhino *rhinoceros *mammoth *whale",
            "sheep": "lamb ram ewe *goat *cow *calf *llama *alpaca *bull",
            "owl": "owlet *eagle *hawk *falcon *crow *raven *pigeon *magpie *sparrow *robin *parrot *bird *wren",
            "penguin": "*puffin",
            "duck": "duckling *goose *swan *chicken *hen *rooster *chick *gull *seagull *stork *heron",
            "robot": "android *machine *alien *astronaut",
            "girl": "daughter sister schoolgirl *child *kid *baby *fairy *elf *mermaid",
            "boy": "son brother schoolboy lad *prince *dwarf *gnome *goblin",
            "woman": "lady mother mom mum grandmother grandma granny aunt teacher *nurse *doctor *baker",
            "man": "father dad grandfather grandpa uncle gentleman fellow farmer fisherman *sailor *captain *pirate "
            "*miller *policeman *giant *hunter *troll *ogre *shepherd *merchant *carpenter *woodcutter",
            "king": "emperor",
            "queen": "empress",
            "princess": "",
            "wizard": "sorcerer magician mage *warlock",
            "knight": "*soldier *guard *warrior",
            "witch": "sorceress enchantress",
        }
    )
)
"""Noun (singular and plural) -> (kind, plural)."""

TINTED = {
    "wolf": "gray",
    "tiger": "orange",
    "zebra": "white",
    "swan": "white",
    "goose": "white",
    "hedgehog": "brown",
    "squirrel": "brown",
    "crow": "black",
    "raven": "black",
    "dragon": "green",
    "turtle": "green",
    "tortoise": "green",
    "horse": "brown",
    "lamb": "white",
    "chick": "yellow",
    "duckling": "yellow",
    "parrot": "green",
    "robin": "red",
    "vixen": "orange",
}
"""The colour of a stand-in whose own kind is known by its colour."""

USUAL_COLOURS = {
    "fox": "orange brown red white gray",
    "bear": "brown black golden white",
    "rabbit": "white gray brown pink",
    "cat": "gray orange black white brown",
    "dog": "brown golden white gray black",
    "mouse": "gray brown white",
    "pig": "pink white brown",
    "lion": "golden orange yellow",
    "panda": "white gray",
    "frog": "green teal blue",
    "monkey": "brown golden gray",
    "elephant": "gray blue pink",
    "sheep": "white black gray",
    "owl": "brown gray purple white",
    "penguin": "black blue gray",
    "duck": "yellow white green",
    "robot": "silver blue red yellow teal",
    "girl": "red blue yellow pink green",
    "boy": "blue green red orange teal",
    "woman": "purple teal red blue",
    "man": "brown blue gray green",
    "king": "red purple blue",
    "queen": "purple pink blue",
    "princess": "pink yellow blue",
    "wizard": "blue purple green",
    "knight": "silver red blue",
    "witch": "black purple green",
}
"""Colours that a kind gets where the tale names none, the most usual first."""

HUMANS = words_of("girl boy woman man king queen princess wizard knight witch")
ADULTS = words_of("woman man king queen wizard witch")
FEMALE = words_of("girl woman queen princess witch")
MALE = words_of("boy man king wizard knight")
FEMALE_NOUNS = words_of("vixen lioness ewe hen mother daughter sister")

COLOURS = _lexicon(
    {
        "red": "scarlet crimson ruby *maroon",
        "orange": "*ginger *copper amber",
        "yellow": "*blond *blonde *lemon",
        "green": "emerald *olive *lime",
        "blue": "azure navy",
        "purple": "violet lilac *lavender",
        "pink": "rosy rose-colored *magenta",
        "brown": "*tan hazel chestnut *beige",
        "black": "ebony inky",
        "white": "snow-white ivory *cream",
        "gray": "grey",
        "golden": "gold",
        "teal": "turquoise *cyan",
        "silver": "silvery",
    }
)

ACCESSORIES = _lexicon(
    {
        "hat": "bonnet *sombrero",
        "cap": "beanie *beret",
        "scarf": "shawl",
        "crown": "tiara",
        "glasses": "spectacles *goggles",
        "bow": "ribbon *bowtie *tie *necklace",
        "cape": "cloak *coat *robe",
        "backpack": "rucksack satchel knapsack *bag *basket *sack",
        "balloon": "*kite *ball",
        "flower": "rose daisy tulip sunflower",
        "umbrella": "parasol",
        "helmet": "",
        "wand": "*staff *stick *sword *lantern *candle",
    }
)

PLACES = _lexicon(
    {
        "meadow": "*field *garden *park *hill *hills *farm *lawn *valley *pasture *orchard *grass *path *road *bridge",
        "forest": "woods wood woodland *jungle *grove *tree *trees *wilderness",
        "sea": "ocean waves *lake *river *pond *harbor *harbour *ship *boat *stream *water *island *pier *well",
        "beach": "shore seaside coast sand *sandcastle",
        "mountains": "mountain peak peaks *cliff *cave *volcano *rocks *mountaintop",
        "desert": "dunes *sahara *oasis",
        "snow": "snowing snowed snowy *ice *glacier",
        "town": "village city street *market *shop *school *square *bakery *station *fair *circus *kingdom *bank",
        "castle": "palace fortress *tower *gate *court *ballroom *throne",
        "room": "house home *kitchen bedroom *hall *cottage *bed *cabin *hut *library *attic *den *burrow "
        "*classroom *parlor *inn *workshop *door *window *table *fireplace indoors",
    }
)

TIMES = _lexicon(
    {
        "night": "midnight *moon *moonlight *stars *dark *darkness *bedtime *tonight *moonlit *starry",
        "morning": "dawn sunrise *breakfast",
        "evening": "sunset dusk *twilight *supper",
        "day": "noon afternoon midday *sunny *lunch *sunshine *daylight daytime",
    }
)

COUNTS = {
    **dict(
        zip(
            ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
            range(1, 13),
            strict=True,
        )
    ),
    "pair": 2,
    "couple": 2,
    "trio": 3,
    "several": 3,
    "some": 3,
    "few": 3,
    "many": 5,
    "dozen": 12,
}
SMALL = words_of("small tiny little young baby wee short miniature")
BIG = words_of("big huge tall giant large enormous great mighty")
ORDINALS = words_of("another other second third new different")

# fmt: off
FUNCTION_WORDS = words_of(
    """
    a an the and or but so if then than as at by for from in into of off on onto out over to up with without
    under he she it they we you i him her them us me his hers its their our your my mine who whom whose which
    what that this these those there here where when while why how not no nor yes all any both each every either
    neither some many much more most other another such only own same too very just also even still yet again
    once one two three four five six seven eight nine ten soon later now today tomorrow yesterday never always
    often sometimes suddenly finally first next last before after until during since because although though
    however meanwhile together away back down near behind between above below beside across along around through
    toward towards past inside outside far long upon oh ah hey hello hi dear well good every everyone everybody
    nobody nothing something someone somebody anything is are was were be been has have had do does did will
    would can could shall should may might must let mr mrs ms dr st sir lady king queen prince princess mother
    father uncle aunt monday tuesday wednesday thursday friday saturday sunday january february march april may
    june july august september october november december christmas spring summer autumn winter english
    eventually luckily sadly happily quickly slowly quietly deep high up down it's that's don't i'm let's can't
    great little big small old young happy sad brave poor thanks thank please look wait come goodbye bye
    immediately perhaps maybe everything anyway besides instead otherwise therefore thus hence hooray wow ouch
    okay
    """
)
CLOSE_CUES = words_of("face eyes tear tears whispered whispers smiled smiles nose closely frowned grinned winked")
WIDE_CUES = words_of("far distance horizon wide everywhere crowd parade landscape kingdom world sky")
FEMALE_NAMES = words_of(
    """
    alice amy anna annie bella betty clara daisy dora ella elsa emily emma eva fiona flora grace greta hannah
    heidi holly iris ivy jane jenny julia kate lena lily lisa lola lucy luna maria martha mary maya mia mila
    mina molly nina nora olivia penny pippa poppy rosa rose rosie ruby ruth sally sara sarah sofia sophie stella
    susan tina violet wendy zoe mei aisha fatima leila yuki
    """
)
# fmt: on
EVERYBODY = words_of("they them friends animals everyone everybody pair companions siblings children kids both")
ABSENT_CUES = words_of("without no missing missed miss searched seek sought")
"""Words that say of whom they name that he is not there."""


def phrase(kind: str, colour: str, accessory: str | None, accessory_colour: str | None) -> str:
    """The description of a character in the world's own form, without article."""
    words = f"{kind} in {colour}" if kind in HUMANS else f"{colour} {kind}"
    if accessory is None:
        return words
    tint = accessory_colour or "red"
    article = "" if accessory == "glasses" else f"{article_of(tint)} "
    return f"{words} with {article}{tint} {accessory}"


def article_of(words: str) -> str:
    """``a`` or ``an``."""
    return "an" if words[:1].lower() in "aeiou" else "a"


def with_article(description: str) -> str:
    """A description that begins with an article."""
    words = description.strip()
    return words if words.split(" ", 1)[0].lower() in ("a", "an", "the") else f"{article_of(words)} {words}"


def place_phrase(place: str, time: str) -> str:
    """``in the meadow at night``, as the storybook world writes it."""
    joint = {"beach": "at", "sea": "at", "mountains": "near", "castle": "near"}.get(place, "in")
    return f"{joint} the {place} {'at' if time == 'night' else 'in the'} {time}"
